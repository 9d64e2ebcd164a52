"""Texts that share most of their shingles: MinHash finds pairs, the exact share decides.

A shingle is five characters in a row of the normalised text. Texts whose sets of shingles have a
Jaccard index of 0.8 or more are near copies: one word more, a typing error, another number.

Source: A. Broder (1997), On the resemblance and containment of documents.
"""

from __future__ import annotations

import numpy as np

LONG = 5
"""Characters of a shingle."""
NEAR = 0.8
"""Jaccard index from which on two texts are near copies."""
_BANDS, _ROWS = 16, 4
"""A pair of index s is looked at with probability 1 - (1 - s^4)^16: 0.9998 at 0.8, 0.34 at 0.4."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CROWD = 64
"""Texts of one band that are compared each with each; of more each with the first of them."""


class Shingles:
    """The shingles of texts, as sorted hashes, text by text.

    >>> sets = Shingles(['the film was good', 'the film was goods', 'a bad play', ''])
    >>> sets.near_pairs().tolist()
    [[0, 1]]
    """

    def __init__(self, texts: list[str]):
        """Of normalised texts; one that is shorter than a shingle has none."""
        points = np.frombuffer('\0'.join([*texts, '']).encode('utf-32-le', 'replace'), np.uint32)
        lengths = np.array([len(text) for text in texts], np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]) if len(texts) else lengths
        self.counts = np.maximum(lengths - LONG + 1, 0)
        rolled = np.zeros(max(len(points) - LONG + 1, 0), np.uint64)
        for place in range(LONG):
            rolled = rolled * np.uint64(1_000_003) + points[place : place + len(rolled)]
        where = np.repeat(starts - np.cumsum(self.counts) + self.counts, self.counts)
        self.hashes = _mixed(rolled[where + np.arange(self.counts.sum())])
        self.ends = np.cumsum(self.counts)

    def of(self, text: int) -> np.ndarray:
        """The different shingles of a text, sorted."""
        return np.unique(self.hashes[self.ends[text] - self.counts[text] : self.ends[text]])

    def near_pairs(self, apart: np.ndarray | None = None, least: float = NEAR) -> np.ndarray:
        """(k, 2) positions of texts, the smaller first, that share at least so much.

        Args:
          apart: (n,) parts of the texts, of which pairs within one are left out; None for none.
          least: Jaccard index.
        """
        found, sets = [], {}

        def index(pair: tuple[int, int]) -> float:
            for text in pair:
                if text not in sets:
                    sets[text] = self.of(text)
            a, b = (sets[text] for text in pair)
            both = len(np.intersect1d(a, b, assume_unique=True))
            return both / (len(a) + len(b) - both)

        for pair in sorted(self._candidates(apart)):
            if index(pair) >= least:
                found.append(pair)
        return np.array(found, np.int64).reshape(-1, 2)

    def _candidates(self, apart: np.ndarray | None) -> set[tuple[int, int]]:
        texts = np.flatnonzero(self.counts)
        if not len(texts):
            return set()
        starts = (self.ends - self.counts)[texts]
        found: set[tuple[int, int]] = set()
        for band in range(_BANDS):
            key = np.zeros(len(texts), np.uint64)
            for row in range(_ROWS):
                salt = _mixed(np.array([band * _ROWS + row + 1], np.uint64))
                key = _mixed(key ^ np.minimum.reduceat(_mixed(self.hashes ^ salt), starts))
            order = np.argsort(key, kind='stable')
            cuts = np.flatnonzero(np.diff(key[order])) + 1
            for group in np.split(texts[order], cuts):
                if len(group) > 1:
                    found.update(_pairs(np.sort(group), apart))
        return found


def _pairs(group: np.ndarray, apart: np.ndarray | None) -> list[tuple[int, int]]:
    if len(group) > _CROWD:
        pairs = [(int(group[0]), int(other)) for other in group[1:]]
        if apart is not None:  # one of each part stands for its part
            firsts = group[np.unique(apart[group], return_index=True)[1]]
            pairs = [
                (min(int(a), int(b)), max(int(a), int(b))) for a in firsts for b in group if a != b
            ]
    else:
        pairs = [(int(a), int(b)) for at, a in enumerate(group) for b in group[at + 1 :]]
    if apart is None:
        return pairs
    return [(a, b) for a, b in pairs if apart[a] != apart[b]]


def _mixed(values: np.ndarray) -> np.ndarray:
    """A well-mixed hash of 64 bits of each value (Fibonacci hashing with shifts)."""
    mixed = (values ^ (values >> np.uint64(31))) * _MULTIPLIER
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MULTIPLIER
    return mixed ^ (mixed >> np.uint64(32))
