"""Which rates short runs leave over, where they are seen to rank rates as full runs do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ftjax.ablation.rates.choice import Choice, RatePoint
from ftjax.evaluation.metric import Metric

SHARE = 0.25
"""Of its full length, a short run."""
KEPT = 2
"""Rates of each arm that are run in full after short runs of all."""
HELD = 0.8
"""Mean rank correlation from which on short runs are believed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narrowing:
    """What short runs said and whether they were believed.

    Attributes:
      share: of the full length, a short run.
      pilots: arms that were run at all rates both short and in full.
      correlations: pilot to Spearman's rank correlation of both over its rates.
      held: whether their mean reached HELD; else every arm is run in full at all rates.
    """

    share: float
    pilots: tuple[str, ...]
    correlations: Mapping[str, float | None]
    held: bool


def pilots_of(tuned: Sequence[str], reference: str) -> tuple[str, ...]:
    """Arms on which short runs are held against full ones: a tenth of them, at least two.

    The reference, if it is tuned, and others spread over the order of the config.
    """
    first = [reference] if reference in tuned else []
    others = [arm for arm in tuned if arm != reference]
    count = min(len(others), max(2, len(tuned) // 10) - len(first))
    step = max(1, len(others) // max(1, count))
    return (*first, *others[step - 1 :: step][:count])


def worth_it(arms: int, pilots: int, rates: int) -> bool:
    """Whether short runs at all rates, and a few full ones, cost clearly less than full ones.

    >>> worth_it(8, 2, 3), worth_it(8, 2, 5)
    (False, True)
    """
    full = arms * rates
    narrowed = arms * rates * SHARE + pilots * rates + (arms - pilots) * KEPT
    return narrowed <= 0.85 * full


def rank_correlation(
    short: Sequence[RatePoint], full: Sequence[RatePoint], metric: Metric
) -> float | None:
    """Spearman's, over the rates that both curves have; a diverged rate ranks last.

    None where fewer than three rates are common, or one curve is flat.
    """
    from scipy import stats

    other = {point.rate: point for point in full}
    pairs = [(point, other[point.rate]) for point in short if point.rate in other]
    if len(pairs) < 3:
        return None
    columns = []
    for side in (0, 1):
        means = [None if pair[side].n_unfinished else pair[side].mean for pair in pairs]
        means = [None if mean is None else metric.sign * mean for mean in means]
        finished = [mean for mean in means if mean is not None]
        columns.append([min(finished, default=0.0) - 1 if m is None else m for m in means])
    if any(len(set(column)) < 2 for column in columns):
        return None
    return float(stats.spearmanr(*columns).statistic)


def narrowing(
    pilots: Sequence[str],
    short: Mapping[str, Sequence[RatePoint]],
    full: Mapping[str, Sequence[RatePoint]],
    metric: Metric,
) -> Narrowing:
    """The verdict on short runs, from the curves of the pilots; see `Narrowing`."""
    found = {arm: rank_correlation(short[arm], full[arm], metric) for arm in pilots}
    known = [value for value in found.values() if value is not None]
    held = bool(known) and math.fsum(known) / len(known) >= HELD
    return Narrowing(share=SHARE, pilots=tuple(pilots), correlations=found, held=held)


def best_rates(choice: Choice, metric: Metric, count: int) -> tuple[float, ...]:
    """So many rates, rising: the one chosen and the best of the others.

    The lowest ones where nothing finished.
    """
    rated = [point for point in choice.curve if point.rate is not None]

    def quality(point: RatePoint) -> tuple[bool, int, float]:
        score = -math.inf if point.mean is None else metric.sign * point.mean
        return point.rate == choice.rate, -point.n_unfinished, score

    best = sorted(rated, key=quality, reverse=True)[:count]
    return tuple(sorted(point.rate for point in best if point.rate is not None))
