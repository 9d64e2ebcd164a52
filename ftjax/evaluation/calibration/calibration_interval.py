"""The 95 % interval of a calibration error that is measured in bins.

The error is the mean over bins of |gap|, and chance adds to it: |gap + noise| is above |gap| on
average, by an amount that depends on the gaps. The ends hold whatever these are:

- The lower end is the larger of two lower bounds. By the triangle inequality the measured error
  is at most the true one plus the mean of |noise|, whose quantile is simulated. And the gaps of all
  bins together, which chance does not push upward, are at most the error.
- The upper end inverts a test (Neyman 1937): it is the largest error from which one as small as
  measured is seen in 2.5 % of simulations. Chance adds least where each gap is the same multiple
  of its noise (the mean of |gap + noise| is convex in gap), so that is what is simulated.

The upper end is at least what was measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftjax.evaluation.intervals import wilson_interval

RESAMPLES = 500
TAIL = 0.025
"""Of each end; that of the lower one is halved between its two bounds."""


def interval_of_examples(
    confidence: np.ndarray, correct: np.ndarray, starts: np.ndarray, rng: np.random.Generator
) -> list[float]:
    """That of independent examples.

    The rights of a bin are binomial. Noise is that of the bin's accuracy, one further example at
    the confidence added.

    Args:
      confidence: rising, (n,).
      correct: 0 and 1, (n,).
      starts: where each bin begins (bins,).
    """
    from scipy import stats

    n, count = len(confidence), np.diff(np.append(starts, len(confidence)))
    mean, rights = np.add.reduceat(confidence, starts) / count, np.add.reduceat(correct, starts)
    measured = np.abs(rights - count * mean).sum() / n
    drawn = rng.random((RESAMPLES, len(count)))
    accuracy = (rights + mean) / (count + 1)
    noise = np.abs(stats.binom.ppf(drawn, count, accuracy) - count * accuracy).sum(1) / n
    accurate = wilson_interval(int(correct.sum()), n, 1 - TAIL)
    together = max(accurate[0] - confidence.mean(), confidence.mean() - accurate[1])
    low = max(0.0, measured - np.quantile(noise, 1 - TAIL / 2), together)

    def at(multiple: float) -> tuple[float, np.ndarray]:
        # Accuracies that lie so many of their standard deviations towards 1/2: Wilson's formula.
        square = multiple**2 / count
        reach = multiple * np.sqrt(mean * (1 - mean) / count + square / count / 4)
        side = np.where(mean < 0.5, 1, -1)
        chance = np.clip((mean + square / 2 + side * reach) / (1 + square), 0, 1)
        errors = np.abs(stats.binom.ppf(drawn, count, chance) - count * mean).sum(1) / n
        return float((count * np.abs(chance - mean)).sum() / n), errors

    return [float(low), float(max(measured, _largest(at, measured)))]


def interval_of_groups(
    sums: np.ndarray, sizes: np.ndarray, rights: np.ndarray, rng: np.random.Generator
) -> list[float] | None:
    """That of examples that come in groups; None below two, and where all are as often right.

    Groups that agree do not say how much others differ.

    The noise is Student's, with as many degrees of freedom as groups less one, and with the
    covariance of bins over groups.

    Args:
      sums: of the gaps of each group in each bin (groups, bins).
      sizes: examples of each group (groups,).
      rights: how many of these are right (groups,).
    """
    from scipy import stats

    groups, n = len(sums), sizes.sum()
    if groups < 2 or np.ptp(rights / sizes) == 0:
        return None
    gaps = sums.sum(0) / n
    # Of a ratio of sums, linearised: Cochran (1977), Sampling Techniques, section 6.4.
    residuals = (sums - np.outer(sizes, gaps)) * np.sqrt(groups / (groups - 1)) / n
    spread = np.sqrt((residuals**2).sum(0))
    scale = np.sqrt((groups - 1) / rng.chisquare(groups - 1, RESAMPLES))
    noise = (rng.standard_normal((RESAMPLES, groups)) @ residuals) * scale[:, None]
    measured = np.abs(gaps).sum()
    reach = stats.t.ppf(1 - TAIL / 2, groups - 1) * np.sqrt((residuals.sum(1) ** 2).sum())
    most = np.quantile(np.abs(noise).sum(1), 1 - TAIL / 2)
    low = max(0.0, measured - most, abs(gaps.sum()) - reach)

    def at(multiple: float) -> tuple[float, np.ndarray]:
        return multiple * spread.sum(), np.abs(multiple * spread + noise).sum(1)

    return [float(low), float(min(1.0, max(measured, _largest(at, measured))))]


def _largest(at: Callable[[float], tuple[float, np.ndarray]], measured: float) -> float:
    """The largest error from which one as small as measured is seen often enough.

    `at` takes a multiple of the noise to the true error and to simulated ones.
    """
    low, high = 0.0, 1.0
    while (at(high)[1] <= measured + 1e-12).mean() > TAIL and high < 2**12:
        low, high = high, 2 * high
    for _ in range(12):
        middle = (low + high) / 2
        seen = (at(middle)[1] <= measured + 1e-12).mean() > TAIL
        low, high = (middle, high) if seen else (low, middle)
    return at(high)[0]
