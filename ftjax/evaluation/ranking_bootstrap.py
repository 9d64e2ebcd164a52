"""Intervals of numbers of a ranking: the bootstrap over examples, or over groups of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftjax.evaluation.intervals import holding, wilson_interval

RESAMPLES = 2000
MOST = 20_000_000
"""Scores of all resamples together; of very many scores there are fewer resamples, at least 200."""
_LARGEST = 2_000_000
"""Scores of several classes up to which there is an interval: some seconds of it."""


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

    Resamples without a positive, which have no average precision, are drawn again. Where all are
    perfect the bootstrap has no width: then it is Wilson's interval of as many right answers as
    there are positives, or groups that hold one.
    """
    if positive.all():
        return None
    return macro_precision_interval(scores[:, None], positive[:, None], groups, confidence, seed)


def macro_precision_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """That of the mean over classes of average precision, of those with positives in a resample.

    Scores and positives are (n, classes), the rest as in `average_precision_interval`. None for
    more than 2 million scores of several classes, too.
    """
    if not positive.any() or not np.isfinite(scores).all():
        return None
    if scores.shape[1] > 1 and scores.size > _LARGEST:
        return None
    order = np.argsort(-scores, axis=0, kind='stable')
    ranked = np.take_along_axis(scores, order, axis=0)
    hit = np.take_along_axis(positive, order, axis=0).astype(np.float64)
    ends = _ends(ranked)  # equal scores: one step

    def statistic(times: np.ndarray) -> float | None:
        weights = times[order]
        found = weights * hit
        answered, right = np.cumsum(weights, axis=0), np.cumsum(found, axis=0)
        precision = np.take_along_axis(right / np.maximum(answered, 1), ends, axis=0)
        known = right[-1] > 0
        if not known.any():
            return None
        return float(((found * precision).sum(axis=0)[known] / right[-1][known]).mean())

    return _interval(statistic, positive, groups, confidence, seed)


def sensitivity_interval(
    specificity: float,
    scores: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """That of `ranking.sensitivity_at`; arguments and None as in `average_precision_interval`.

    The threshold is chosen anew on each resample: the interval holds what its choice adds.
    Resamples without positives or without others are drawn again. Where all are 0 it is Wilson's
    interval, as where all are 1.
    """
    if positive.all() or not positive.any() or not np.isfinite(scores).all():
        return None
    order = np.argsort(-scores, kind='stable')
    ranked, hit = scores[order], positive[order]
    starts = np.searchsorted(-ranked, -ranked)  # where equal scores begin

    def statistic(times: np.ndarray) -> float | None:
        weights = times[order]
        others, right = np.cumsum(weights * ~hit), np.cumsum(weights * hit)
        if not others[-1] or not right[-1]:
            return None
        allowed = int(np.floor((1 - specificity) * others[-1] + 1e-9))
        cut = int(np.searchsorted(others, allowed, side='right'))
        if cut == len(others):
            return 1.0
        above = int(starts[cut])
        return float(right[above - 1] / right[-1]) if above else 0.0

    return _interval(statistic, positive[:, None], groups, confidence, seed)


def _ends(ranked: np.ndarray) -> np.ndarray:
    """(n, classes): of falling scores the last position of each that is equal."""
    n = len(ranked)
    last = np.concatenate([ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), bool)])
    at = np.where(last, np.arange(n)[:, None], n)
    return np.minimum.accumulate(at[::-1], axis=0)[::-1]


def _interval(
    statistic: Callable[[np.ndarray], float | None],
    positive: np.ndarray,
    groups: np.ndarray | None,
    confidence: float,
    seed: int,
) -> list[float] | None:
    """Of a statistic of how often each of n examples was drawn; where it is None, drawn again."""
    n = len(positive)
    of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(of.max()) + 1
    if units < 2:
        return None
    rng, found = np.random.default_rng(seed), []
    wanted = int(min(RESAMPLES, max(200, MOST // positive.size)))
    while len(found) < wanted:
        value = statistic(np.bincount(rng.integers(0, units, units), minlength=units)[of])
        if value is not None:
            found.append(value)
    if min(found) == 1 or max(found) == 0:
        fewest = min(holding(column, groups) for column in positive.T if column.any())
        return list(wilson_interval(fewest if min(found) == 1 else 0, fewest, confidence))
    tail = 100 * (1 - confidence) / 2
    return [float(bound) for bound in np.percentile(found, [tail, 100 - tail])]
