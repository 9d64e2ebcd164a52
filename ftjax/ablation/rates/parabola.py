"""Where between the rates tried the best one lies: a parabola in log rate, with its uncertainty.

The rate that runs are made at stays the best that was tried; this says how well it is known.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ftjax.ablation.rates.choice import Choice


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateEstimate:
    """The vertex of a parabola through the best rate and its two neighbours.

    Attributes:
      rate: learning rate at the vertex, between the outer two of the rates.
      low, high: confidence interval over seeds, cut at the outer two of the rates: beyond these
        the parabola is not seen. None with one seed, and where the curve is so flat that the
        seeds do not say on which side of a rate the best one lies.
      confidence: probability content of the interval.
      rates: the three rates.
      seeds: that finished at all three.
    """

    rate: float
    low: float | None
    high: float | None
    confidence: float
    rates: tuple[float, float, float]
    seeds: tuple[int, ...]


def estimate_rate(
    choice: Choice,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    overlap: float = 0.0,
) -> RateEstimate | None:
    """The best rate in between; None where the winner has no neighbour on one of its sides.

    None too where the vertex is not between these neighbours: on the seeds that finished at all
    three rates the winner is then not the best.

    Slope and curvature of the parabola at the winner are linear in the three validation
    metrics, so each seed gives a pair of them, and the vertex is a ratio of two means of pairs.
    Its interval is that of Fieller (1954), exact for normal pairs.

    Args:
      choice: from `choose_rate`.
      higher_is_better: of the validation metric.
      confidence: probability content of the interval.
      overlap: of folds; see `statistics.mean_interval`.
    """
    if choice.rate is None or choice.edge is not None or len(choice.curve) < 3:
        return None
    at = [point.rate for point in choice.curve].index(choice.rate)
    if not 0 < at < len(choice.curve) - 1:
        return None
    three = choice.curve[at - 1 : at + 2]
    seeds = tuple(s for s in choice.seeds if all(p.values[s] is not None for p in three))
    rates = tuple(point.rate for point in three if point.rate is not None)
    if not seeds or len(rates) < 3:
        return None
    sign = 1.0 if higher_is_better else -1.0
    x = np.log(rates)
    y = sign * np.array([[point.values[seed] for point in three] for seed in seeds], float)
    below, above = x[1] - x[0], x[2] - x[1]
    rise, fall = (y[:, 1] - y[:, 0]) / below, (y[:, 2] - y[:, 1]) / above
    slopes = (rise * above + fall * below) / (below + above)
    curvatures = (fall - rise) / (below + above)
    curvature = curvatures.mean()
    if not curvature < 0:
        return None  # a plateau: every rate on it is as good
    vertex = x[1] - slopes.mean() / (2 * curvature)
    if not x[0] <= vertex <= x[2]:
        return None
    bounds = fieller(slopes, curvatures, confidence, overlap)
    low, high = (None, None)
    if bounds is not None:
        # In log rate: a bound may be so far off that it has no exponential.
        ends = np.clip(x[1] - np.array(bounds) / 2, x[0], x[2])
        low, high = sorted(np.clip(np.exp(ends), rates[0], rates[2]).tolist())
    return RateEstimate(
        rate=float(np.exp(vertex)),
        low=low,
        high=high,
        confidence=confidence,
        rates=(rates[0], rates[1], rates[2]),
        seeds=seeds,
    )


def fieller(
    above: np.ndarray, below: np.ndarray, confidence: float = 0.95, overlap: float = 0.0
) -> tuple[float, float] | None:
    """Interval of the ratio of two means of paired samples (Fieller 1954).

    Args:
      above: (n,) samples of the numerator.
      below: (n,) samples of the denominator.
      confidence: probability content.
      overlap: of folds; see `statistics.mean_interval`.

    Returns:
      Its ends; None where the mean of the denominator does not differ from 0: no finite
      interval has the confidence.

    >>> fieller(np.array([1.0, 1.0]), np.array([2.0, 2.0]))
    (0.5, 0.5)
    """
    from scipy import stats

    n = len(above)
    if n < 2:
        return None
    quantile = stats.t.ppf(0.5 + confidence / 2, n - 1) ** 2 * (1 / n + overlap)
    covariance = np.cov(above, below) * quantile
    means = np.mean(above), np.mean(below)
    a = means[1] ** 2 - covariance[1, 1]
    if not a > 0:
        return None
    b = means[0] * means[1] - covariance[0, 1]
    root = math.sqrt(max(0.0, b * b - a * (means[0] ** 2 - covariance[0, 0])))
    return float((b - root) / a), float((b + root) / a)
