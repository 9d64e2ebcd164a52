"""95 % intervals for numbers measured on a sample of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.few_units import FEW, jackknife_ends, jackknife_interval

_AT_ONCE = 50
"""Resamples whose sums are made together."""


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion; sound near 0 and 1, where the normal one is not.

    It covers the choice of the test examples, not the choice of the training seed.
    Source: E. B. Wilson (1927), JASA 22, 209-212; computed by scipy.

    >>> low, high = wilson_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    from scipy import stats

    bounds = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, 'wilson')
    return float(bounds.low), float(bounds.high)


def wilson_of_share(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """As `wilson_interval`, of a share that need not be that of a whole number of n.

    >>> [round(end, 3) for end in wilson_of_share(0.9, 3)]
    [0.358, 0.993]
    """
    from scipy import stats

    if math.isclose(share * n, round(share * n), abs_tol=1e-9):
        return wilson_interval(round(share * n), n, confidence)
    square = float(stats.norm.ppf((1 + confidence) / 2)) ** 2
    reach = math.sqrt(square * (share * (1 - share) / n + square / (4 * n**2)))
    middle, over = share + square / (2 * n), 1 + square / n
    return (middle - reach) / over, (middle + reach) / over


def bootstrap_interval(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    within: tuple[float | None, float | None] = (None, None),
) -> list[float] | None:
    """Percentile bootstrap interval of a statistic; None below two rows.

    It is over the resamples where the statistic is a number; None where it never is. Of few rows it
    is that of `jackknife_interval`, where the statistic is a number without each of them.

    Args:
      rows: numbers of each unit, (n,) or (n, k); whole rows are resampled. A unit is what was
        drawn independently: an example, a text, never a token of a text.
      statistic: of resampled rows.
      confidence: probability content.
      resamples: how many bootstrap samples.
      seed: of the resampling, so that the same rows give the same interval.
      within: the least and the greatest value that the statistic can have; None for no end.

    >>> bootstrap_interval(np.array([[2.0, 1.0], [2.0, 1.0]]), lambda r: r[:, 0].mean())
    [2.0, 2.0]
    """
    if len(rows) < 2:
        return None
    if len(rows) < FEW:
        ends = jackknife_interval(rows, statistic, confidence)
        if ends is not None:
            return clipped(ends, *within)
    rng, found = np.random.default_rng(seed), np.empty(resamples)
    # One resample at a time: all of them at once would hold n x resamples numbers.
    for index in range(resamples):
        found[index] = statistic(rows[rng.integers(0, len(rows), len(rows))])
    tail = 100 * (1 - confidence) / 2
    known = found[np.isfinite(found)]
    if not len(known):
        return None
    low, high = np.percentile(known, [tail, 100 - tail])
    return [float(low), float(high)]


def bootstrap_intervals_of_sums(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[list[float] | None]:
    """As `bootstrap_interval`, of several functions of the sums over rows, from the same resamples.

    Args:
      rows: what each unit adds to the sums, (n, k).
      statistic: sums (samples, k) -> (samples, numbers), NaN where a number is undefined.

    Returns:
      (low, high) of each number, over the resamples where it is defined; None where it never is.
      [] below two rows.

    >>> rows = np.array([[2.0, 4.0], [2.0, 4.0]])
    >>> bootstrap_intervals_of_sums(rows, lambda sums: sums[:, :1] / sums[:, 1:])
    [[0.5, 0.5]]
    """
    if len(rows) < 2:
        return []
    few: list[list[float] | None] = []
    if len(rows) < FEW:
        value, left_out = statistic(rows.sum(0)[None])[0], statistic(rows.sum(0) - rows)
        pairs = zip(value, left_out.T, strict=True)
        few = [jackknife_ends(float(one), others, confidence) for one, others in pairs]
    rng, found = np.random.default_rng(seed), []
    for start in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start)
        drawn = [rng.integers(0, len(rows), len(rows)) for _ in range(size)]
        times = np.stack([np.bincount(each, minlength=len(rows)) for each in drawn])
        found.append(statistic(times @ rows))
    tail, spread = 100 * (1 - confidence) / 2, []
    for values in np.concatenate(found).T:
        known = values[np.isfinite(values)]
        ends = np.percentile(known, [tail, 100 - tail]) if len(known) else None
        spread.append(None if ends is None else [float(end) for end in ends])
    return [own or known for own, known in zip(few, spread, strict=True)] if few else spread


def interval_at_bound(value: float, count: int) -> list[float] | None:
    """That of a score of 0 or 1, whose bootstrap has no width, over so many units; else None.

    It is Wilson's of as many right answers, or wrong ones.

    >>> interval_at_bound(0.5, 8), [round(end, 3) for end in interval_at_bound(1.0, 8)]
    (None, [0.676, 1.0])
    """
    if value not in (0, 1) or not count:
        return None
    return list(wilson_interval(round(value * count), count))


def score_of_sums_interval(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    counted: np.ndarray | None = None,
) -> list[float] | None:
    """As `bootstrap_interval`, of a score from 0 to 1, cut at these; see `interval_at_bound`.

    Args:
      rows, statistic: as of `bootstrap_interval`.
      counted: bool (n,), which rows have a part in the score; None for all that are not 0.
    """
    if len(rows) < 2:
        return None
    count = int(np.sum(rows.any(axis=1) if counted is None else counted))
    at_bound = interval_at_bound(statistic(rows), count)
    if at_bound is not None:
        return at_bound
    return bootstrap_interval(rows, statistic, within=(0.0, 1.0))


def clipped(
    ends: Sequence[float], low: float | None = 0.0, high: float | None = 1.0
) -> list[float]:
    """An interval within the range of its score, None where that has no end.

    >>> clipped([-0.1, 0.4]), clipped([-0.1, 1.4], 0.0, None)
    ([0.0, 0.4], [0.0, 1.4])
    """
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    return [min(most, max(least, end)) for end in ends]


def bootstrap_mean_interval(values: np.ndarray, **options: Any) -> list[float] | None:
    """That of the mean of values (n,); see `bootstrap_interval` for the options."""
    return bootstrap_interval(np.asarray(values, np.float64), np.mean, **options)


def share_interval(right: np.ndarray, groups: np.ndarray | None = None) -> list[float] | None:
    """That of the share of examples (n,) that are right.

    Wilson's for independent examples; with groups (n,) that of `ratio_interval` over these, None
    below two. Where groups agree it is Wilson's of as many examples as there are groups.

    >>> right, groups = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
    >>> share_interval(right, groups)  # two patients, one of them always right
    [0.0, 1.0]
    """
    if groups is None:
        return list(wilson_interval(int(np.sum(right)), len(right)))
    return _over_groups(right, groups, bounded=True)


def mean_interval(
    values: np.ndarray,
    groups: np.ndarray | None = None,
    within: tuple[float | None, float | None] = (None, None),
) -> list[float] | None:
    """That of the mean of values (n,), of independent examples or of groups of them.

    With groups it is that of `ratio_interval`, and None where they all have the same mean: they
    do not say how much others differ.

    Args:
      values: of each example.
      groups: (n,), or None.
      within: see `bootstrap_interval`.

    >>> mean_interval(np.array([0.01, 4.0, 0.02]), within=(0.0, None))[0]
    0.0
    """
    if groups is None:
        return bootstrap_mean_interval(values, within=within)
    ends = _over_groups(values, groups, bounded=False)
    return None if ends is None else clipped(ends, *within)


def _over_groups(values: np.ndarray, groups: np.ndarray, bounded: bool) -> list[float] | None:
    rows = np.column_stack([np.asarray(values, np.float64), np.ones(len(values))])
    return ratio_interval(*units(rows, groups).T, bounded=bounded)


def ratio_interval(
    above: np.ndarray, below: np.ndarray, confidence: float = 0.95, bounded: bool = False
) -> list[float] | None:
    """That of a sum over units (n,) divided by another; None below two units.

    Student's t on the linearised ratio; a bootstrap of few units is too narrow. Where all units
    have the same ratio the error is 0, and nothing says how much others differ: it is None then.

    Args:
      above, below: of each unit.
      confidence: probability content.
      bounded: of a score from 0 to 1. It has no end outside these, and where all units have the
        same ratio, its interval is that of a share of as many examples.

    Source: W. G. Cochran (1977), Sampling Techniques, 3rd edition, section 6.4.

    >>> low, high = ratio_interval(np.array([1.0, 2.0, 4.0]), np.ones(3))
    >>> round(low, 3), round(high, 3)
    (-1.461, 6.128)
    """
    from scipy import stats

    n, total = len(above), float(below.sum())
    if n < 2 or not total:
        return None
    value = float(above.sum()) / total
    if not math.isfinite(value):
        return None
    residuals = above - value * below
    if np.abs(residuals).max() <= 1e-12 * np.abs(above).max():
        return list(wilson_of_share(value, n, confidence)) if bounded else None
    error = float(residuals.std(ddof=1)) / (float(below.mean()) * math.sqrt(n))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    ends = [value - reach, value + reach]
    return clipped(ends) if bounded else ends


def score_interval(scores: np.ndarray, groups: np.ndarray | None = None) -> list[float] | None:
    """That of the mean of scores (n,) from 0 to 1, as `share_interval` where all are 0 or 1.

    A bootstrap of equal scores has no width, however few there are.

    >>> [round(end, 3) for end in score_interval(np.zeros(8))]
    [0.0, 0.324]
    """
    if groups is not None or (len(scores) and np.isin(scores, (0, 1)).all()):
        return share_interval(scores, groups)
    return mean_interval(scores, within=(0.0, 1.0))


def holding(which: np.ndarray, groups: np.ndarray | None) -> int:
    """Of examples (n,) bool how many there are, or how many groups hold one.

    >>> holding(np.array([True, True, False]), np.array(['a', 'a', 'b']))
    1
    """
    return int(which.sum()) if groups is None else len(np.unique(groups[which]))


def units(rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """What is resampled: the rows (n, k), or the sums of those of each group.

    Only for statistics that are functions of sums over rows.
    """
    if groups is None:
        return rows
    _, group = np.unique(groups, return_inverse=True)
    summed = np.zeros((group.max(initial=-1) + 1, rows.shape[1]))
    np.add.at(summed, group, rows)
    return summed
