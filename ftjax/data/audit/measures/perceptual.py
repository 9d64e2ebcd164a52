"""Perceptual hashes of images: the signs of the low frequencies of a small grey picture.

The hash of a picture is 143 bits: of the discrete cosine transform of its 32 x 32 grey pixels the
12 x 12 lowest frequencies without the mean, each larger than their median or not. It survives
another size, JPEG at low quality and another brightness; mirroring is a change of the signs of odd
frequencies, so that mirrored copies are found without another transform.

Source: C. Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ftjax.data.images.thumbnails import SIDE

KEPT = 12
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 2**22
"""Comparisons at a time: what they take stays in the cache of a core."""
_GREY_AT_ONCE = 64
"""Pictures that are made grey at a time: they stay in the cache of a core too."""
_AT_ONCE = 2048
"""Pairs whose crops are compared at a time (60 MB)."""


def transforms(thumbs: np.ndarray) -> np.ndarray:
    """Low frequencies (n, 12, 12), float32, of uint8 pictures (n, 32, 32, 3)."""
    basis = _basis()
    return basis @ _grey(thumbs) @ basis.T


def hashes(frequencies: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """143 bits of each picture in uint64 (n, 3); those of its mirror image with `mirrored`."""
    if mirrored:
        frequencies = frequencies * np.where(np.arange(KEPT) % 2, -1, 1).astype(np.float32)
    flat = frequencies.reshape(len(frequencies), KEPT * KEPT)[:, 1:]
    bits = np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1)
    return np.pad(bits, ((0, 0), (0, 24 - bits.shape[1]))).view(np.uint64)


def close_pairs(left: np.ndarray, right: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """(k, 3) at a time: rows of `left` and `right` that differ in at most so many bits, and that.

    >>> h = hashes(np.random.default_rng(0).normal(size=(3, 12, 12)).astype(np.float32))
    >>> [pair.tolist() for pair in close_pairs(h[:2], h, 20)]
    [[[0, 0, 0], [1, 1, 0]]]
    """
    if not len(left) or not len(right):
        return
    words = [np.ascontiguousarray(right[:, word]) for word in range(right.shape[1])]
    step = max(1, _BLOCK // len(right))
    for start in range(0, len(left), step):
        rows = left[start : start + step]
        # Most pairs are told apart by the lowest frequencies, which are the first word.
        first = np.bitwise_count(rows[:, :1] ^ words[0])
        # Of a flat array that is several times as quick as `np.nonzero` of two axes.
        i, j = np.divmod(np.flatnonzero(first <= most), len(right))
        apart = first[i, j].astype(np.int64)
        for word, column in enumerate(words[1:], 1):
            apart += np.bitwise_count(rows[i, word] ^ column[j])
        kept = apart <= most
        yield np.stack([i[kept] + start, j[kept], apart[kept]], axis=1)


def likeness(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Correlation of the pixels of pictures (n, 32, 32, 3), pair by pair: 1 for the same."""
    a, b = (_centred(each) for each in (left, right))
    return (a * b).sum(axis=1)


def aligned_likeness(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """As `likeness` of grey pictures, at the best of crops of 5, 10 and 15 % of either of them.

    A crop lies at one of three places along each side; pictures are compared at 16 x 16 pixels.
    """
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        a, b = (_windows(_grey(each[rows])) for each in (left, right))
        one = np.einsum('nwd,nd->nw', a, b[:, 0]).max(axis=1)
        found[rows] = np.maximum(one, np.einsum('nwd,nd->nw', b, a[:, 0]).max(axis=1))
    return found


def _windows(grey: np.ndarray) -> np.ndarray:
    """(n, windows, 256): each crop of pictures (n, 32, 32), centred, of length 1; all first."""
    means, crops = _crops()
    views = np.stack([means[i] @ grey @ means[j].T for i, j in crops], axis=1)
    flat = views.reshape(*views.shape[:2], -1)
    flat = flat - flat.mean(axis=-1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)


@functools.cache
def _crops() -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    """Matrices (16, 32) that average a part of a side to 16 pixels; pairs of them."""
    parts, crops = [(0.0, float(SIDE))], [(0, 0)]
    for size in (0.95 * SIDE, 0.9 * SIDE, 0.85 * SIDE):
        places = range(len(parts), len(parts) + 3)
        crops += [(i, j) for i in places for j in places]
        parts += [(at, at + size) for at in (0.0, (SIDE - size) / 2, SIDE - size)]
    return [_means(low, high) for low, high in parts], crops


def _means(low: float, high: float) -> np.ndarray:
    edges = np.linspace(low, high, SIDE // 2 + 1)[:, None]
    pixels = np.arange(SIDE)
    covered = np.clip(edges[1:], pixels, pixels + 1) - np.clip(edges[:-1], pixels, pixels + 1)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)


def _grey(thumbs: np.ndarray) -> np.ndarray:
    """float32 (n, 32, 32); plane by plane, which is five times as quick as a product."""
    found = np.empty(thumbs.shape[:-1], np.float32)
    for start in range(0, len(thumbs), _GREY_AT_ONCE):
        some = thumbs[start : start + _GREY_AT_ONCE]
        planes = (np.float32(weight) * some[..., i] for i, weight in enumerate(_LUMA))
        found[start : start + _GREY_AT_ONCE] = sum(planes, np.float32(0))  # pyrefly: ignore
    return found


def _centred(thumbs: np.ndarray) -> np.ndarray:
    flat = thumbs.reshape(len(thumbs), SIDE * SIDE * 3).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


@functools.cache
def _basis() -> np.ndarray:
    """The first rows of the orthonormal discrete cosine transform (type II), as scipy.fft.dct.

    That import would take longer than all that is done with it.
    """
    at = (2 * np.arange(SIDE) + 1) * np.arange(KEPT)[:, None]
    rows = np.sqrt(2 / SIDE) * np.cos(np.pi * at / (2 * SIDE))
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)
