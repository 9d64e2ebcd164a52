"""Parts of multi-label data in which every label has its share: iterative stratification.

Source: Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of Multi-label Data. The
examples of the rarest label are dealt out first, each to the part that lacks most of it.
"""

from __future__ import annotations

import numpy as np


def stratified_parts(hot: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part of each example: int64 (N,), part p having exactly sizes[p] of them.

    Args:
      hot: (N, classes), 1 where a label applies.
      sizes: whole numbers whose sum is N.
      rng: of the order in which examples of one label are dealt out.

    >>> hot = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    >>> parts = stratified_parts(hot, np.array([2, 2]), np.random.default_rng(0))
    >>> sorted(parts[:2].tolist()), sorted(parts[2:].tolist())
    ([0, 1], [0, 1])
    """
    hot = np.asarray(hot) != 0
    room = np.array(sizes, np.float64)
    wanted = np.outer(room / max(1, len(hot)), hot.sum(axis=0))
    part = np.full(len(hot), -1)
    order = rng.permutation(len(hot))
    while True:
        left = order[part[order] < 0]
        counts = hot[left].sum(axis=0)
        if not counts.any():
            break
        label = int(np.argmin(np.where(counts > 0, counts, len(hot) + 1)))
        for example in left[hot[left, label]]:
            free = np.flatnonzero(room > 0)
            # Most wanted first; of those that want it equally the one with most room.
            best = free[np.lexsort((-room[free], -wanted[free, label]))[0]]
            part[example] = best
            room[best] -= 1
            wanted[best, hot[example]] -= 1
    for example in order[part[order] < 0]:
        best = int(np.argmax(room))
        part[example] = best
        room[best] -= 1
    return part
