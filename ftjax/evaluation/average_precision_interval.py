"""The interval of an average precision: the bootstrap over examples, or over groups of them."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
MOST = 20_000_000
"""Examples of all resamples together; of very many examples there are fewer resamples."""


def average_precision_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """Percentile bootstrap interval; None without positives or others, or below two groups.

    Args:
      scores: (n,), higher for positives.
      positive: (n,) bool.
      groups: (n,) what each example belongs to: whole groups are drawn; None for examples.
      confidence: probability content.
      seed: of the resampling.

    Resamples without a positive, which have no average precision, are drawn again.
    """
    if not positive.any() or positive.all() or not np.isfinite(scores).all():
        return None
    of = np.arange(len(scores)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(of.max()) + 1
    if units < 2:
        return None
    order = np.argsort(-scores, kind='stable')
    of, hit = of[order], positive[order].astype(np.float64)
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan))  # equal scores: one step
    rng, found = np.random.default_rng(seed), []
    wanted = int(min(RESAMPLES, max(200, MOST // len(scores))))
    while len(found) < wanted:
        drawn = np.bincount(rng.integers(0, units, units), minlength=units)
        weights = drawn[of]
        answered = np.cumsum(weights)[ends]
        right = np.cumsum(weights * hit)[ends]
        if right[-1]:
            steps = np.diff(right, prepend=0)
            found.append((steps * right / np.maximum(answered, 1)).sum() / right[-1])
    tail = 100 * (1 - confidence) / 2
    return [float(bound) for bound in np.percentile(found, [tail, 100 - tail])]
