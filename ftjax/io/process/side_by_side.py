"""Arrays copied over others by several threads: one of them does not fill the memory's lanes."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Sequence

import numpy as np

from ftjax.io.process.own_cores import own_cores

LEAST = 2**24
"""Bytes from which threads are worth their start."""
MOST = 4
"""Threads; more find no more memory lanes on common processors."""
Pair = tuple[np.ndarray, np.ndarray]
"""(array that is written over, array that is copied), of one shape."""


def copy_all(pairs: Sequence[Pair]) -> None:
    """Copies the second array of each pair over the first.

    >>> into = np.zeros(3)
    >>> copy_all([(into, np.arange(3.0))])
    >>> into
    array([0., 1., 2.])
    """
    size = sum(into.nbytes for into, _ in pairs)
    threads = min(MOST, own_cores())
    if size < LEAST or threads < 2:
        _copy(pairs)
        return
    # NumPy lets other threads run while it copies.
    with concurrent.futures.ThreadPoolExecutor(threads, 'copies') as pool:
        list(pool.map(_copy, shares(pairs, size // threads + 1)))


def shares(pairs: Sequence[Pair], most: int) -> Iterator[list[Pair]]:
    """The pairs in groups of about `most` bytes, in order; a large array is cut into rows.

    >>> into, array = np.zeros((4, 2)), np.ones((4, 2))
    >>> [[part.shape for part, _ in group] for group in shares([(into, array)], 32)]
    [[(2, 2)], [(2, 2)]]
    """
    group, size = [], 0
    for into, array in (part for pair in pairs for part in _rows(pair, most)):
        group.append((into, array))
        size += into.nbytes
        if size >= most:
            yield group
            group, size = [], 0
    if group:
        yield group


def _rows(pair: Pair, most: int) -> Iterator[Pair]:
    into, array = pair
    if into.ndim == 0 or into.nbytes <= most:
        yield pair
        return
    step = max(1, most * len(into) // into.nbytes)
    for begin in range(0, len(into), step):
        yield into[begin : begin + step], array[begin : begin + step]


def _copy(pairs: Sequence[Pair]) -> None:
    for into, array in pairs:
        np.copyto(into, array)
