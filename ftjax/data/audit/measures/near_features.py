"""Examples whose frozen features point the same way: copies that hashes of pixels do not see."""

from __future__ import annotations

import numpy as np

NEAR = 0.9
"""Cosine of centred features, from which on two examples may be near copies."""
CLOSER = 0.2
"""Near copies are closer by this factor than both are to their tenth neighbour: networks that make
all examples of a class alike would otherwise call them all copies."""
_NEIGHBOUR = 10
_BLOCK = 2**24


def feature_pairs(
    features: np.ndarray, least: float = NEAR, closer: float = CLOSER
) -> tuple[np.ndarray, np.ndarray]:
    """(k, 2) positions, the smaller first, and (k,) the cosines of their centred features.

    Args:
      features: (n, d).
      least: cosine.
      closer: 1 - cosine, as a share of that to the tenth neighbour of either example.

    >>> x = np.random.default_rng(0).normal(size=(50, 20))
    >>> feature_pairs(np.concatenate([x, x[:2] + 0.01]))[0].tolist()
    [[0, 50], [1, 51]]
    """
    unit = np.asarray(features, np.float32)
    unit = unit - unit.mean(axis=0)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    n, pairs, cosines = len(unit), [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    tenth = np.full(n, -1.0, np.float32)
    step = max(1, _BLOCK // max(n, 1))
    for start in range(0, n, step):
        block = unit[start : start + step] @ unit.T
        if n > _NEIGHBOUR + 1:  # an example is its own first neighbour
            at = n - 1 - _NEIGHBOUR
            tenth[start : start + step] = np.partition(block, at, axis=1)[:, at]
        i, j = np.nonzero(block >= least)
        kept = i + start < j
        pairs.append(np.stack([i[kept] + start, j[kept]], axis=1))
        cosines.append(block[i[kept], j[kept]])
    found, cosine = np.concatenate(pairs), np.concatenate(cosines)
    room = 1 - np.maximum(tenth[found[:, 0]], tenth[found[:, 1]])
    kept = 1 - cosine <= closer * room
    return found[kept], cosine[kept]
