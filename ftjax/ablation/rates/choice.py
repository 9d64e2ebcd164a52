"""The learning rate of an arm: its whole curve on validation data, and the winner on it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from ftjax.ablation.statistics.row_types import Row, Rows
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric
from ftjax.tasks.metrics import as_metric

# Two rates are the same when they differ by rounding only (1e-3 read back from JSON, say).
SAME = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatePoint:
    """One rate of an arm's curve.

    Attributes:
      rate: learning rate; None for an arm that is not trained.
      values: seed to validation metric; None where the run diverged or failed.
    """

    rate: float | None
    values: Mapping[int, float | None]

    @property
    def n_unfinished(self) -> int:
        """Seeds whose run diverged or failed."""
        return sum(value is None for value in self.values.values())

    @property
    def mean(self) -> float | None:
        """Mean over the finished seeds; None where there is none."""
        finished = [value for value in self.values.values() if value is not None]
        return math.fsum(finished) / len(finished) if finished else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """The rate chosen for an arm and what it was chosen from.

    Attributes:
      rate: the winner; None for an arm that is not trained, or that never finished a run.
      edge: 'low' or 'high' where the winner is the lowest or highest rate tried: the best
        rate may lie outside; None where it is inside, or where nothing was searched.
      tied: all rates whose mean is within the tolerance of the best.
      trials: rates tried.
      seeds: the seeds that every rate was tried with; the means are over them.
      curve: the rates in rising order.
    """

    rate: float | None
    edge: str | None
    tied: tuple[float, ...]
    trials: int
    seeds: tuple[int, ...]
    curve: tuple[RatePoint, ...]


def rate_curve(
    rows: Rows,
    metric: str | Metric,
    seeds: Sequence[int] | None = None,
) -> tuple[RatePoint, ...]:
    """The validation results of one arm by rate, rates rising.

    Only seeds that every rate was tried with count (or `seeds`): the winner is often run with
    more seeds afterwards, and their luck must not enter the comparison.

    Args:
      rows: finished rows of one arm and task; of rows with the same rate and seed the last
        one counts.
      metric: of row['val'].
    """
    metric = as_metric(metric)
    by_rate: dict[float | None, dict[int, float | None]] = {}
    for row in rows:
        rate = known_rate(row.get('rate'), by_rate)
        by_rate.setdefault(rate, {})[row['seed']] = score_of(row, metric, 'val')
    if not by_rate:
        return ()
    common = set.intersection(*(set(values) for values in by_rate.values()))
    if seeds is not None:
        common &= set(seeds)
    if not common:
        raise UserError(
            f'arm {rows[0].get("arm")!r}: no seed was run at every one of its {len(by_rate)} '
            'rates; finish the search before choosing'
        )
    return tuple(
        RatePoint(rate=rate, values={seed: by_rate[rate][seed] for seed in sorted(common)})
        for rate in sorted(by_rate, key=lambda rate: -math.inf if rate is None else rate)
    )


def choose_rate(
    curve: Sequence[RatePoint],
    *,
    higher_is_better: bool = True,
    tolerance: float = 0.0,
    tried: Sequence[float] = (),
) -> Choice:
    """The rate with the best mean validation metric.

    A rate at which any seed diverged wins only if every rate has such a seed, and then the
    fewest decide: a mean over the survivors would reward it. Of rates tied within
    `tolerance` those inside the grid go before those on its edge, then the middle one (the
    lower of two) is taken: in the middle of a plateau both neighbours are good too.

    Args:
      curve: from `rate_curve`.
      higher_is_better: False for losses and errors.
      tolerance: difference in the metric below which two rates tie.
      tried: rates of all trials, where the curve holds those of one variant alone; their
        lowest and highest are then the edges, and their number that of the trials.
    """
    seeds = tuple(curve[0].values) if curve else ()
    trials = len(tried) or len(curve)
    nothing = Choice(rate=None, edge=None, tied=(), trials=trials, seeds=seeds, curve=tuple(curve))
    sign = 1.0 if higher_is_better else -1.0
    finished = [
        (point.rate, sign * point.mean, point.n_unfinished)
        for point in curve
        if point.rate is not None and point.mean is not None
    ]
    if not finished:
        return nothing
    fewest = min(unfinished for _, _, unfinished in finished)
    stable = [(rate, score) for rate, score, unfinished in finished if unfinished == fewest]
    best = max(score for _, score in stable)
    slack = max(tolerance, 1e-12 * max(1.0, abs(best)))
    tied = [rate for rate, score in stable if score >= best - slack]
    rates = tried or [point.rate for point in curve if point.rate is not None]
    ends = {min(rates): 'low', max(rates): 'high'} if len(rates) > 1 else {}
    candidates = [rate for rate in tied if rate not in ends] or tied
    rate = candidates[(len(candidates) - 1) // 2]
    return dataclasses.replace(nothing, rate=rate, edge=ends.get(rate), tied=tuple(tied))


def check_rates(rates: Sequence[float]) -> list[float]:
    """The rates sorted; UserError for one that is not positive and finite, or given twice."""
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise UserError(f'a learning rate must be a number, not {rate!r}')
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f'a learning rate must be positive and finite, not {rate}')
    ordered = sorted(float(rate) for rate in rates)
    for low, high in itertools.pairwise(ordered):
        if high <= low * (1 + SAME):
            raise UserError(f'learning rate {high} is given twice')
    return ordered


def known_rate(rate: float | None, known: Iterable[float | None]) -> float | None:
    """The one of `known` that equals `rate` but for rounding; else `rate` itself."""
    if rate is None:
        return None
    for other in known:
        if other is not None and abs(other - rate) <= SAME * abs(other):
            return other
    return float(rate)


def score_of(row: Row, metric: str | Metric, split: str = 'test') -> float | None:
    """The metric of a run; None where the run did not finish or the number is undefined.

    Raises:
      UserError: a finished run has no such metric.
    """
    if row.get('status') != 'ok':
        return None
    metric, values = as_metric(metric), row.get(split) or {}
    if not metric.known_in(values):
        raise UserError(
            f'the run of arm {row.get("arm")!r}, rate {row.get("rate")}, seed {row.get("seed")} '
            f'has no {split} metric {metric.name!r}; it has: {", ".join(sorted(values)) or "none"}'
        )
    return metric.value_in(values)
