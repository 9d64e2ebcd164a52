"""Means and their t intervals for a handful of seeds.

What an interval here covers: the choice of the seed, and with it of the data subset, the order,
the head's initialisation and the test split, as far as seeds vary them (coverage.py reads off the
rows whether they share a test set). With 3 to 10 seeds the t interval is the honest one for a
mean: a percentile bootstrap of 3 values covers about 75 % where it promises 95, because it
neither knows the heavy tail of so small a sample nor corrects its spread by n/(n-1). Differences
between arms are compared all at once: `comparison.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
      estimate: the number.
      low, high: bounds; None where n is too small to give any.
      n: independent values behind it (seeds, as a rule).
      method: 't', 'simultaneous' or 'stratified percentile bootstrap'.
      confidence: probability content.
    """

    estimate: float
    low: float | None
    high: float | None
    n: int
    method: str
    confidence: float = 0.95

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f'{self.estimate:.4g} (no interval, n = {self.n})'
        return f'{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]'


def mean_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, overlap: float = 0.0
) -> Interval:
    """Mean with its t interval.

    Args:
      values: one finite number a seed; at least one, and no interval below two.
      confidence: probability content.
      overlap: test examples a training example, of runs whose training sets overlap: folds.
        The variance of the mean is then s^2 (1/n + overlap) instead of s^2/n. Source: Nadeau
        and Bengio 2003, Machine Learning 52, 239-281.

    >>> print(mean_interval([0.80, 0.82, 0.84]))
    0.82 [0.7703, 0.8697]
    """
    from scipy import stats

    array = finite(values)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Interval(estimate=mean, low=None, high=None, n=n, method='t', confidence=confidence)
    spread = array.std(ddof=1) * math.sqrt(1 / n + overlap)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * spread)
    return Interval(
        estimate=mean, low=mean - half, high=mean + half, n=n, method='t', confidence=confidence
    )


def overlap_of(folds: int | None) -> float:
    """Test examples a training example of so many folds; 0 without folds.

    >>> overlap_of(5), overlap_of(0)
    (0.25, 0.0)
    """
    return 1 / (folds - 1) if folds else 0.0


def finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The values as a float64 vector; UserError if it is empty or holds a NaN or infinity.

    A diverged run must be counted by its status, never averaged in or dropped by a nanmean.
    """
    array = np.asarray(values, np.float64).reshape(-1)
    if not len(array):
        raise UserError('no finished run to take a mean of')
    if not np.isfinite(array).all():
        raise UserError('a score is NaN or infinite: mark its run as diverged instead')
    return array
