"""Variances of arms share strength: an empirical-Bayes prior, its own uncertainty kept.

The variance of an arm is drawn from a scaled inverse chi-squared distribution with d0 degrees of
freedom around s0. An arm's variance s2 with d degrees of freedom is moderated by it to
(d0 s0 + d s2) / (d0 + d), with d0 + d degrees of freedom. Source: G. K. Smyth (2004), Linear models
and empirical Bayes methods, Statistical Applications in Genetics and Molecular Biology 3(1), 3.

That paper takes one estimate of d0 and s0. With the few arms and seeds of an ablation they are
hardly known, and intervals that take them as known miss the truth two to five times as often as
they promise. So their posterior is kept here: on a grid of d0, given by the standard deviation of
log sd over arms, whose prior is a half-normal one of 0.5, and of s0, whose logarithm has a flat
one.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

SPREADS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5)
"""Standard deviations of log sd over arms that are considered."""
TYPICAL_SPREAD = 0.5
EQUAL = 1e6
"""Degrees of freedom that stand for equal variances."""
LEAST_CURVATURE = 0.02
"""Where the likelihood is flatter its normal approximation says nothing; the grid ends there."""
STEPS = np.linspace(-4, 7, 28)
"""Points of log s0, in its posterior standard deviations around the mode; long to the right."""


def moderated(
    variances: np.ndarray, df: np.ndarray, d0: float | np.ndarray, s0: float | np.ndarray
) -> np.ndarray:
    """Smyth's moderated variances.

    >>> moderated(np.array([4.0, 1.0]), np.array([2.0, 2.0]), 6.0, 2.0)
    array([2.5 , 1.75])
    """
    return (d0 * s0 + df * variances) / (d0 + df)


@dataclasses.dataclass(frozen=True)
class VariancePrior:
    """The posterior of d0 and s0 on a grid (of d0, of s0).

    Attributes:
      d0: degrees of freedom (d0,).
      log_s0: (d0, s0).
      probability: of each point (d0, s0).
    """

    d0: np.ndarray
    log_s0: np.ndarray
    probability: np.ndarray

    def likely(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probability, d0 and s0 of the points that matter, each (points,)."""
        shape = self.probability.shape
        kept = self.probability > 1e-3 * self.probability.max()
        weights = self.probability[kept]
        d0 = np.broadcast_to(self.d0[:, None], shape)[kept]
        return weights / weights.sum(), d0, np.exp(self.log_s0[kept])

    def draws(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws of d0 and s0, each (count,); evenly spaced over the grid's probability."""
        flat = np.cumsum(self.probability.ravel())
        points = np.searchsorted(flat / flat[-1], (np.arange(count) + 0.5) / count)
        points = rng.permutation(points)
        row = points // len(STEPS)
        width = self.log_s0[row, 1] - self.log_s0[row, 0]
        log_s0 = self.log_s0.ravel()[points] + width * (rng.random(count) - 0.5)
        return self.d0[row], np.exp(log_s0)

    def exceeds(self, variance: float, df: float) -> float:
        """The chance that the variance of a further arm is estimated as large as this."""
        from scipy import special

        ratio = variance / np.exp(self.log_s0)
        return float((self.probability * special.fdtrc(df, self.d0[:, None], ratio)).sum())


def fit_prior(
    variances: np.ndarray, df: np.ndarray, spreads: tuple[float, ...] = SPREADS
) -> VariancePrior:
    """The posterior of d0 and s0, given variances (arms,) with df (arms,), not all of them 0.

    Variances of few arms do not tell how they spread: below three, they are taken as equal.
    """
    from scipy import special

    df, variances = df[df > 0], variances[df > 0]
    spreads = spreads if len(df) > 2 else (0.0,)
    d0 = np.array([degrees_of(spread) for spread in spreads])
    a, c = df / 2, d0[:, None] / 2
    with np.errstate(divide='ignore'):
        ratio = np.log(df * variances) - np.log(d0)[:, None]  # -inf where arms do not vary
    # The mode of log s0 for each d0: the log likelihood is concave, Newton's method finds it.
    mode = np.full(len(d0), np.log((df * variances).sum() / df.sum()))
    for _ in range(100):
        pull = special.expit(ratio - mode[:, None])
        curvature = np.maximum(((a + c) * pull * (1 - pull)).sum(1), LEAST_CURVATURE)
        step = np.clip((-a + (a + c) * pull).sum(1) / curvature, -2, 2)
        mode = mode + step
        if np.abs(step).max() < 1e-3:
            break
    width = 1 / np.sqrt(curvature)
    log_s0 = mode[:, None] + width[:, None] * STEPS
    # Of s2 / s0, which has an F distribution; terms without d0 and s0 are left out.
    known = (special.gammaln(a + c) - special.gammaln(c) - a * np.log(d0)[:, None]).sum(1)
    tails = (a + c)[:, None] * np.logaddexp(0, ratio[:, None] - log_s0[:, :, None])
    log_p = known[:, None] - a.sum() * log_s0 - tails.sum(2) + np.log(width)[:, None]
    log_p -= 0.5 * (np.array(spreads)[:, None] / TYPICAL_SPREAD) ** 2
    probability = np.exp(log_p - log_p.max())
    return VariancePrior(d0, log_s0, probability / probability.sum())


@functools.cache
def degrees_of(spread: float) -> float:
    """The d0 for which log sd has this standard deviation over arms.

    >>> round(degrees_of(0.5), 2)
    2.85
    """
    from scipy import optimize, special

    if spread == 0:
        return EQUAL
    # The variance of the logarithm of a chi-squared variable is trigamma(d0 / 2).
    half: Any = optimize.brentq(lambda x: special.polygamma(1, x) - 4 * spread**2, 1e-3, 1e6)
    return 2 * float(half)
