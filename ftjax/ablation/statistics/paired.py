"""Means, paired differences and their intervals for a handful of seeds.

What an interval here covers: the choice of the seed, and with it of the data subset, the order,
the head's initialisation and the test split, as far as seeds vary them (coverage.py reads off the
rows whether they share a test set). With 3 to 10 seeds the t interval is the honest one for a
mean: a percentile bootstrap of 3 values covers about 75 % where it promises 95 (a test measures
it), because it neither knows the heavy tail of so small a sample nor corrects its spread by
n/(n-1). Bootstrap intervals are kept for statistics that have no t interval
(`statistics_bootstrap`) and always say their method.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
      estimate: the number.
      low, high: bounds; None where n is too small to give any.
      n: independent values behind it (seeds, as a rule).
      method: 't', 'percentile bootstrap' or 'stratified percentile bootstrap'.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How an arm differs from the reference on the seeds that both finished.

    Attributes:
      interval: mean difference (arm minus reference) with its t interval.
      bootstrap: the same mean with its bootstrap interval over seeds; too narrow below
        about 10 seeds.
      p: two-sided p value of the paired t test; None below 2 seeds, or where all differences
        are equal (a t test then has no spread to judge by).
      wins, ties: seeds where the arm scored higher than, or the same as, the reference.
      seeds: the seeds compared.
      n_unpaired: seeds of either arm that have no finished partner.
    """

    interval: Interval
    bootstrap: Interval
    p: float | None
    wins: int
    ties: int
    seeds: tuple[int, ...]
    n_unpaired: int


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


def paired_difference(
    scores: Mapping[int, float | None],
    reference: Mapping[int, float | None],
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
    overlap: float = 0.0,
) -> PairedDifference | None:
    """The arm minus the reference, paired over seeds.

    Pairing removes what the seeds share (subset, order, initial head) from the difference, so
    its interval is often far narrower than the two arms' own.

    Args:
      scores, reference: seed to score; None marks a run that diverged or failed.
      confidence: probability content of both intervals.
      resamples, seed: of the bootstrap.
      overlap: see `mean_interval`; the t test allows for it too, the bootstrap does not.

    Returns:
      None where no seed was finished by both.
    """
    from scipy import stats

    pairs = {
        seed: score - partner
        for seed, score in sorted(scores.items())
        if score is not None and (partner := reference.get(seed)) is not None
    }
    if not pairs:
        return None
    differences = finite(list(pairs.values()))
    # Rounding noise around equal differences is no spread.
    spread = np.ptp(differences) > 1e-12 * max(1.0, float(np.abs(differences).max()))
    p = None
    if spread:
        n = len(differences)
        wider = math.sqrt(1 + n * overlap)
        t = float(stats.ttest_1samp(differences, 0.0).statistic) / wider
        p = float(2 * stats.t.sf(abs(t), n - 1))
    return PairedDifference(
        interval=mean_interval(differences, confidence, overlap),
        bootstrap=_bootstrap_mean(differences, confidence, resamples, seed),
        p=p,
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        seeds=tuple(pairs),
        n_unpaired=len((set(scores) | set(reference)) - set(pairs)),
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of the p values of one family; None stays None.

    Rejecting where the adjusted value is below alpha keeps the chance of any false rejection
    below alpha. Source: S. Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if p is not None and not 0 <= p <= 1:
            raise UserError(f'a p value must lie in [0, 1], not {p}')
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[i] = highest
    return adjusted


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


def _bootstrap_mean(values: np.ndarray, confidence: float, resamples: int, seed: int) -> Interval:
    method, low, high = 'percentile bootstrap', None, None
    if len(values) > 1:
        rng = np.random.default_rng(seed)
        means = values[rng.integers(0, len(values), (resamples, len(values)))].mean(axis=1)
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Interval(
        estimate=float(values.mean()),
        low=low,
        high=high,
        n=len(values),
        method=method,
        confidence=confidence,
    )
