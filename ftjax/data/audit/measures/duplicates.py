"""Examples that stand in a data set more than once: the same, or nearly the same."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable

import numpy as np

from ftjax.data.audit.examples import Examples
from ftjax.data.audit.measures.keys import content_keys, text_key
from ftjax.data.audit.measures.perceptual import (
    aligned_likeness,
    close_pairs,
    hashes,
    likeness,
    transforms,
)
from ftjax.data.audit.measures.pictures import SMALLEST, thumbnails, too_coarse
from ftjax.data.audit.measures.shingles import near_texts
from ftjax.data.images.decode import decode, opened

NEAR_BITS = 20
"""Bits of 143 that near copies differ in at most: JPEG at quality 20 or half the size change up to
10, and 78,000 pairs of different photographs differ in 44 or more."""
NEAR_LIKENESS = 0.9
"""Correlation of the pixels of near copies at least: bits of nearly empty pictures are noise."""
CROP_BITS, CROP_BITS_OF_MANY, _FEW = 52, 48, 5000
"""Bits that a picture and one cropped by 5 % a side differ in at most, nearly always; one pair in
500 of different pictures too, so that of more than 5,000 pictures fewer are looked at."""
ALIGNED_LIKENESS = 0.95
"""Correlation at the best of some crops: copies have 0.98 or more, and 78,000 pairs of different
photographs at most 0.84."""
# What is compared before every run takes about 0.3 s at these sizes; the audit has no such limit.
_FREE_PAIRS = 3e7  # of images
_FREE_LETTERS = 1_000_000  # of texts
_FREE_PIXELS = 4e7  # of files that are unpacked as a whole, to see whether they are the same


@dataclasses.dataclass(frozen=True, eq=False)
class Duplicates:
    """What stands more than once; positions are those of `Examples`."""

    same: list[np.ndarray]
    """Groups of two or more examples with the same input, positions rising."""
    near: np.ndarray
    """(k, 2) pairs that are near copies, the smaller position first; without those in `same`."""
    compared: bool
    """Whether inputs were compared at all: records of TFDS without keys are not."""
    looked_near: bool
    """Whether near copies across splits were looked for."""
    why_not: str = ''
    """Why they were not, in words."""

    def leaks(self, examples: Examples, split: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of held-out examples that stand in training: (the same, near copies)."""
        of = examples.split
        same = [i for group in self.same if (of[group] == 0).any() for i in group]
        exact = np.array([i for i in same if of[i] == split], np.int64)
        left, right = self.near[:, 0], self.near[:, 1]
        # The smaller position comes first, and training first of all.
        near = np.unique(right[(of[left] == 0) & (of[right] == split)])
        return exact, np.setdiff1d(near, exact)


def find_duplicates(examples: Examples, whole: bool = False) -> Duplicates:
    """Groups of the same input, and pairs of near copies.

    Args:
      examples: of all splits.
      whole: also what takes time: near copies within a split, and of large data sets.

    Raises:
      UserError: for a file that cannot be read.
    """
    keys: list[bytes | str] = []
    for _, part, _ in examples.blocks():
        found = content_keys(part)
        if found is None:
            return Duplicates([], _none(), False, False, 'inputs are read while a run is going')
        keys += found
    kind = examples.splits.train.kind
    if kind == 'text':
        near, why = _near_texts(examples, whole)
    elif kind in ('image', 'image_file', 'tfds'):
        near, why = _near_images(examples, whole)
    else:
        near, why = None, 'no near copies of such inputs are defined'
    if near is None:
        return Duplicates(_groups(keys), _none(), True, False, why)
    if kind == 'image_file':
        keys = _with_pixels(examples, keys, near, whole)
    same = _groups(keys)
    group = np.arange(len(keys))
    for positions in same:
        group[positions] = positions[0]
    pairs = near[:, :2]
    pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
    return Duplicates(same, pairs, True, True)


def _groups(keys: Iterable[bytes | str]) -> list[np.ndarray]:
    found: dict[bytes | str, list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key, []).append(position)
    return [np.array(of) for of in found.values() if len(of) > 1]


def _near_texts(examples: Examples, whole: bool) -> tuple[np.ndarray | None, str]:
    texts = [text_key(text) for _, part, _ in examples.blocks() for text in part.inputs]
    if not whole and sum(map(len, texts)) > _FREE_LETTERS:
        return None, f'more than {_FREE_LETTERS:,} characters; scripts/audit.py looks'
    different: dict[str, int] = {}
    first = np.array([different.setdefault(text, len(different)) for text in texts], np.int64)
    members = np.split(np.argsort(first, kind='stable'), np.cumsum(np.bincount(first))[:-1])
    pairs = [
        (min(a, b), max(a, b))
        for i, j in near_texts([*different])
        for a in members[i]
        for b in members[j]
        if whole or examples.split[a] != examples.split[b]
    ]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return np.column_stack([found, np.zeros_like(found)]), ''


def _near_images(examples: Examples, whole: bool) -> tuple[np.ndarray | None, str]:
    """(k, 4): two positions, bits apart, and whether one is mirrored."""
    counts = np.bincount(examples.split, minlength=3)
    if not whole and counts[0] * (counts[1] + counts[2]) > _FREE_PAIRS:
        return None, f'{len(examples):,} images are many; scripts/audit.py looks'
    thumbs = [thumbnails(part, whole) for _, part, _ in examples.blocks()]
    if any(one is None for one in thumbs):
        coarse = [part for _, part, _ in examples.blocks() if too_coarse(part)]
        small = f'images are smaller than {SMALLEST} pixels'
        return None, small if coarse else 'images are many; scripts/audit.py looks'
    pictures = np.concatenate([one for one in thumbs if one is not None])
    return near_pictures(pictures, 0 if whole else len(examples.splits.train), whole), ''


def near_pictures(pictures: np.ndarray, first: int = 0, crops: bool = False) -> np.ndarray:
    """int64 (k, 4): two positions, the smaller first, bits apart, and whether one is mirrored.

    Args:
      pictures: uint8 (n, 32, 32, 3).
      first: 0 to compare all; else those from here on with those before.
      crops: whether copies that lost up to a tenth of each side are looked for too.
    """
    frequencies = transforms(pictures)
    straight, found = hashes(frequencies), []
    most = NEAR_BITS if not crops else CROP_BITS if len(pictures) <= _FEW else CROP_BITS_OF_MANY
    for mirrored in (0, 1):
        other = hashes(frequencies, mirrored=True) if mirrored else straight
        for block in close_pairs(straight[first:], other[:first] if first else other, most):
            block[:, 0] += first
            block = block[block[:, 0] > block[:, 1]][:, [1, 0, 2]]
            left, right = pictures[block[:, 0]], pictures[block[:, 1]]
            right = right[:, :, ::-1] if mirrored else right
            kept = (block[:, 2] <= NEAR_BITS) & (likeness(left, right) >= NEAR_LIKENESS)
            if crops:
                rest = np.flatnonzero(~kept)
                kept[rest] = aligned_likeness(left[rest], right[rest]) >= ALIGNED_LIKENESS
            found.append(np.column_stack([block, np.full(len(block), mirrored)])[kept])
    pairs = np.concatenate(found) if found else np.zeros((0, 4), np.int64)
    # A picture that is like its own mirror image is found twice.
    _, once = np.unique(pairs[:, :2], axis=0, return_index=True)
    return pairs[once].astype(np.int64)


def _with_pixels(
    examples: Examples, keys: list[bytes | str], near: np.ndarray, whole: bool
) -> list[bytes | str]:
    """The keys, in which files of other bytes and the same pixels have one key."""
    straight = near[near[:, 3] == 0]
    left = math.inf if whole else _FREE_PIXELS
    sizes: dict[int, tuple[int, int]] = {}
    by_pixels: dict[bytes, bytes | str] = {}
    changed: dict[bytes | str, bytes | str] = {}

    def size(position: int) -> tuple[int, int]:
        if position not in sizes:
            part, at = examples.place(position)
            with opened(part.inputs[at], str(part.ids[at])) as image:
                sizes[position] = image.size
        return sizes[position]

    for pair in straight[np.argsort(straight[:, 2], kind='stable'), :2].tolist():
        if keys[pair[0]] == keys[pair[1]] or sorted(size(pair[0])) != sorted(size(pair[1])):
            continue
        for position in pair:
            left -= 0 if keys[position] in changed else math.prod(size(position))
        if left < 0:
            break
        for position in pair:
            if keys[position] not in changed:
                part, at = examples.place(position)
                pixels = decode(part.inputs[at], None, 3, whites=part.whites)
                found = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes()).digest()
                changed[keys[position]] = by_pixels.setdefault(found, keys[position])
    return [changed.get(key, key) for key in keys]


def _none() -> np.ndarray:
    return np.zeros((0, 2), np.int64)
