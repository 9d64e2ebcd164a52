"""95 % intervals for numbers measured on a sample of examples."""

from __future__ import annotations

import numpy as np


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


def bootstrap_mean_interval(
    values: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean over examples; None below two of them.

    Args:
      values: one number an example, shape (n,).
      confidence: probability content.
      resamples: how many bootstrap samples.
      seed: of the resampling, so that the same values give the same interval.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    # One resample at a time: all of them at once would hold n x resamples numbers.
    for index in range(resamples):
        means[index] = values[rng.integers(0, len(values), len(values))].mean()
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
