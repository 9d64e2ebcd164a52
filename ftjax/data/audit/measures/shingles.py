"""Texts that share most of their shingles: every pair, found through the rarest of them.

A shingle is five characters in a row of the normalised text. Texts whose sets of shingles have a
Jaccard index of 0.6 or more are near copies: a word changed, a typing error, another number.

Two sets of so high an index share eight of the rarest shingles of either: with those in order of
how rare they are, of the first |x| - ceil(0.6 |x|) + 8. Only pairs that do are compared, and no
pair is missed. Sources: A. Broder (1997), On the resemblance and containment of documents; J.
Wang, G. Li and J. Feng (2012), Can we beat the prefix filtering?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

LONG = 5
"""Characters of a shingle."""
NEAR = 0.6
"""Jaccard index from which on two texts are near copies."""
_SHARED = 8
"""Shingles that two prefixes must share, or all that are needed if those are fewer."""
_AT_ONCE = 200_000
"""Pairs that are compared at a time."""
_ROWS = 2000
"""Texts whose candidates are looked for at a time."""


def near_texts(
    texts: Sequence[str], apart: np.ndarray | None = None, least: float = NEAR
) -> np.ndarray:
    """int64 (k, 2): positions of texts, the smaller first, with a Jaccard index of `least` or more.

    Args:
      texts: normalised; one that is shorter than a shingle is like no other.
      apart: (n,) parts of the texts, of which pairs within one are left out; None for none.
      least: Jaccard index.

    >>> near_texts(['the film was good', 'the film was goods', 'a bad play', '']).tolist()
    [[0, 1]]
    """
    sets = shingle_sets(texts)
    sizes = np.diff(sets.indptr)
    found = [np.zeros((0, 2), np.int64)]
    for pairs in _candidates(sets, sizes, least, apart):
        for start in range(0, len(pairs), _AT_ONCE):
            block = pairs[start : start + _AT_ONCE]
            found.append(block[_indices(sets, block) >= least - 1e-9])
    every = np.concatenate(found)
    return every[np.lexsort(every.T[::-1])]


def jaccard(texts: Sequence[str], pairs: np.ndarray) -> np.ndarray:
    """The Jaccard index of the shingles of pairs (k, 2) of normalised texts; 0 without any.

    >>> jaccard(['the film was good', 'the film was goods'], np.array([[0, 1], [0, 0]]))
    array([0.92857143, 1.        ])
    """
    return _indices(shingle_sets(texts), pairs)


def _indices(sets: Any, pairs: np.ndarray) -> np.ndarray:
    i, j = pairs.T
    sizes = np.diff(sets.indptr)
    both = np.asarray(sets[i].multiply(sets[j]).sum(axis=1)).reshape(-1)
    return both / np.maximum(sizes[i] + sizes[j] - both, 1)


def shingle_sets(texts: Sequence[str]) -> Any:
    """A sparse matrix (texts, shingles) of 0 and 1; columns from the rarest shingle on."""
    from scipy.sparse import csr_array

    points = np.frombuffer('\0'.join([*texts, '']).encode('utf-32-le', 'replace'), np.uint32)
    lengths = np.array([len(text) for text in texts], np.int64)
    counts = np.maximum(lengths - LONG + 1, 0)
    rolled = np.zeros(max(len(points) - LONG + 1, 0), np.uint64)
    for place in range(LONG):
        rolled = rolled * np.uint64(1_000_003) + points[place : place + len(rolled)]
    starts = np.cumsum(lengths + 1) - lengths - 1
    of = np.repeat(np.arange(len(texts)), counts)
    where = starts[of] + np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    shingle, width = _numbered(rolled[where])
    once = np.sort(of * max(width, 1) + shingle)
    once = once[np.diff(once, prepend=-1) > 0]
    of, shingle = once // max(width, 1), once % max(width, 1)
    rank = np.argsort(np.argsort(np.bincount(shingle, minlength=width), kind='stable'))
    ones = np.ones(len(of), np.int32)
    sets = csr_array((ones, (of, rank[shingle])), shape=(len(texts), width))
    sets.sort_indices()
    return sets


def _numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Equal numbers from 0 for equal values, and how many: quicker than np.unique by far."""
    order = np.argsort(values)
    ordered = values[order]
    new = np.zeros(len(values), np.int64)
    new[1:] = ordered[1:] != ordered[:-1]
    number = np.empty(len(values), np.int64)
    number[order] = np.cumsum(new)
    return number, int(number.max(initial=-1)) + 1


def _candidates(
    sets: Any, sizes: np.ndarray, least: float, apart: np.ndarray | None
) -> Iterator[np.ndarray]:
    """(k, 2) pairs that share enough of their rarest shingles, the smaller position first."""
    from scipy.sparse import csr_array

    row = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(row)) - np.repeat(sets.indptr[:-1], sizes)
    needed = np.ceil(least * sizes - 1e-9)
    first = place < (sizes - needed + np.minimum(_SHARED, needed))[row]
    often = np.bincount(sets.indices, minlength=sets.shape[1]) > 1
    kept = first & often[sets.indices]
    ones = np.ones(int(kept.sum()), np.int32)
    rare = csr_array((ones, (row[kept], sets.indices[kept])), shape=sets.shape)
    turned = rare.T.tocsr()
    for start in range(0, len(sizes), _ROWS):
        shared = (rare[start : start + _ROWS] @ turned).tocoo()
        i, j = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        # Sets of one index differ in size by no more than that share.
        small, large = np.minimum(sizes[i], sizes[j]), np.maximum(sizes[i], sizes[j])
        kept = (i < j) & (small >= least * large - 1e-9)
        kept &= shared.data >= np.minimum(_SHARED, np.minimum(needed[i], needed[j]))
        if apart is not None:
            kept &= apart[i] != apart[j]
        yield np.column_stack([i[kept], j[kept]])
