"""How well vectors find what belongs to them: ranks of all candidates of a split, and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

DEPTH = 10
CUTOFFS = (1, 5, 10)
_CHUNK = 2**22  # similarities that are held at once


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Of each query, (n,) each."""

    recalls: np.ndarray
    """(n, 3): share of what belongs to it among the first 1, 5 and 10."""
    reciprocal: np.ndarray
    """1 over the rank of the first that belongs to it, 0 beyond 10."""
    gains: np.ndarray
    """nDCG of the first 10, every candidate that belongs to it counting 1."""
    nearest: np.ndarray
    """Position of the candidate that is nearest."""
    total: np.ndarray
    """How many candidates belong to it."""


def ranked(
    queries: np.ndarray,
    candidates: np.ndarray,
    belonging: Sequence[np.ndarray],
    itself: np.ndarray,
) -> Ranked:
    """Ranks candidates by their cosine with each query.

    Args:
      queries, candidates: (n, dim) and (m, dim), of length 1.
      belonging: of each query the positions of the candidates that belong to it.
      itself: of each query the candidate that is the same text, and no answer to it; -1 for none.

    Of equal cosines the earlier candidate comes first.
    """
    count = len(candidates)
    step = max(1, _CHUNK // max(count, 1))
    parts = []
    for first in range(0, len(queries), step):
        near = queries[first : first + step] @ candidates.T
        wanted = np.zeros(near.shape, bool)
        for row, members in enumerate(belonging[first : first + step]):
            wanted[row, members] = True
        own = itself[first : first + step]
        same = np.flatnonzero(own >= 0)
        near[same, own[same]], wanted[same, own[same]] = -np.inf, False
        order = np.argsort(-near, axis=1, kind='stable')[:, :DEPTH]
        parts.append((np.take_along_axis(wanted, order, axis=1), wanted.sum(axis=1), order[:, 0]))
    hits, total, nearest = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Ranked(*measures(hits, total), nearest, total)


def measures(hits: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(recalls, reciprocal ranks, nDCG) of ranked answers.

    Args:
      hits: (n, at most 10) bool, whether the candidate at a rank belongs to the query.
      total: (n,) how many candidates belong to it; 1 or more.

    >>> recalls, reciprocal, gains = measures(np.array([[False, True, False]]), np.array([1]))
    >>> recalls.tolist(), reciprocal.tolist(), round(float(gains[0]), 4)
    ([[0.0, 1.0, 1.0]], [0.5], 0.6309)
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    recalls = np.stack([hits[:, :k].sum(axis=1) / np.maximum(total, 1) for k in CUTOFFS], axis=1)
    first = hits.argmax(axis=1)
    reciprocal = np.where(hits.any(axis=1), 1 / (first + 1), 0.0)
    discounts = 1 / np.log2(ranks + 1)
    ideal = np.cumsum(1 / np.log2(np.arange(1, DEPTH + 1) + 1))
    gains = (hits * discounts).sum(axis=1) / ideal[np.minimum(total, DEPTH) - 1]
    return recalls, reciprocal, gains
