"""Intervals of a statistic of few units, where resamples of them are too much alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

FEW = 20
"""Below so many units an interval is made here. Of losses a token of 5 texts a percentile bootstrap
holds 83 % where it promises 95, of 12 texts 90 %, of 20 texts 93 % (simulated)."""


def jackknife_interval(
    rows: np.ndarray, statistic: Callable[[np.ndarray], float], confidence: float
) -> list[float] | None:
    """Student's t interval with the jackknife's error; see `jackknife_ends`.

    Args:
      rows: numbers of each unit, (n,) or (n, k); n is 2 or more.
      statistic: of some of the rows.
      confidence: probability content.
    """
    left_out = [statistic(np.delete(rows, place, axis=0)) for place in range(len(rows))]
    return jackknife_ends(statistic(rows), np.array(left_out, np.float64), confidence)


def jackknife_ends(value: float, left_out: np.ndarray, confidence: float) -> list[float] | None:
    """The interval of a value from those without each of n units.

    Of a mean it is the t interval. Where no unit makes a difference it has no width.

    Args:
      value: of all units.
      left_out: (n,) without each of them.
      confidence: probability content.

    Returns:
      (low, high); None where one of the numbers is undefined or too large.

    Source: J. W. Tukey (1958), Annals of Mathematical Statistics 29, 614; B. Efron and R. J.
    Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.

    >>> values = np.array([1.0, 2.0, 4.0])
    >>> ends = jackknife_ends(values.mean(), (values.sum() - values) / 2, 0.95)
    >>> [round(end, 3) for end in ends]
    [-1.461, 6.128]
    """
    from scipy import stats

    n = len(left_out)
    if not math.isfinite(value) or not np.isfinite(left_out).all():
        return None
    with np.errstate(over='ignore'):
        error = math.sqrt((n - 1) / n * float(np.square(left_out - left_out.mean()).sum()))
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    ends = [float(value) - reach, float(value) + reach]
    return ends if all(map(math.isfinite, ends)) else None
