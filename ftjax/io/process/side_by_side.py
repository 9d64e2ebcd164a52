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
PARTS = 4
"""Groups of arrays for each thread."""
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
    # NumPy lets other threads run while it copies. Parts are small beside a thread's share, so
    # that no thread waits long for the last one.
    with concurrent.futures.ThreadPoolExecutor(threads, 'copies') as pool:
        list(pool.map(_copy, shares(pairs, -(-size // (PARTS * threads)))))


def shares(pairs: Sequence[Pair], most: int) -> Iterator[list[Pair]]:
    """The pairs in groups of at most some `most` bytes, in order; a large array is cut.

    >>> into, array = np.zeros((4, 2)), np.ones((4, 2))
    >>> [[part.shape for part, _ in group] for group in shares([(into, array)], 32)]
    [[(2, 2)], [(2, 2)]]
    """
    group: list[Pair] = []
    size = 0
    for part in (part for pair in pairs for part in _cut(pair, most)):
        if group and size + part[0].nbytes > most:
            yield group
            group, size = [], 0
        group.append(part)
        size += part[0].nbytes
    if group:
        yield group


def _cut(pair: Pair, most: int) -> Iterator[Pair]:
    """A pair in parts along its longest axis."""
    into = pair[0]
    if into.nbytes <= most or into.ndim == 0:
        yield pair
        return
    axis, count = int(np.argmax(into.shape)), -(-into.nbytes // most)
    cut = [np.array_split(side, count, axis) for side in pair]
    yield from zip(*cut, strict=True)


def _copy(pairs: Sequence[Pair]) -> None:
    for into, array in pairs:
        np.copyto(into, array)
