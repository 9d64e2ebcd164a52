"""The search for every arm's rate: equal trials, the grid grown where a winner is on its edge.

Everything here is a pure function of the starting grid and the finished rows. The rounds are
replayed from them, so an interrupted search goes on where it stopped and ends with the same
choice as one that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ftjax.ablation.rates.choice import (
    Choice,
    RatePoint,
    check_rates,
    choose_rate,
    known_rate,
    rate_curve,
)
from ftjax.ablation.statistics.row_types import Rows
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric
from ftjax.tasks.metrics import metric_of

Grid = Sequence[float] | Mapping[str, Sequence[float]]
"""Starting rates: the same for every arm, or arm to rates, equally many for each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Where the search for all arms' rates stands.

    Attributes:
      pending: (arm, rate, seed) of the runs that the current round still needs; none when
        the search is over.
      choices: arm to its choice on the rounds that are complete; empty before the first.
      rounds: complete rounds beyond the starting grid.
      tried: arm to the rates of its grid so far, the present round's among them.
    """

    pending: tuple[tuple[str, float, int], ...]
    choices: Mapping[str, Choice]
    rounds: int
    tried: Mapping[str, tuple[float, ...]]


def search_rates(
    rows: Rows,
    *,
    arms: Sequence[str],
    grid: Grid,
    seeds: Sequence[int],
    metric: str | Metric,
    tolerance: float = 0.0,
    max_extra: int = 2,
) -> RateSearch:
    """Replays the search on the finished rows; see `next_trials` for its rounds.

    Call it, run what is pending, call it again with the new rows, until nothing is pending.

    Args:
      rows: finished rows of one task, in any order; other arms' rows are passed over.
      arms: the arms that search.
      grid: starting rates, of all arms or of each.
      seeds: the seeds each trial is run with.
      metric: validation metric that decides; its direction too.
      tolerance: see `choose_rate`.
      max_extra: rates an arm may get beyond the grid.

    >>> search_rates([], arms=['head'], grid=[1e-3], seeds=[0], metric='accuracy').pending
    (('head', 0.001, 0),)
    """
    metric = metric_of(metric)
    if not seeds:
        raise UserError('a rate search needs at least one seed')
    tried = {arm: check_rates(grid_of(arm, grid)) for arm in arms}
    done: dict[str, dict[float | None, set[int]]] = {arm: {} for arm in arms}
    of_arm: dict[str, list[Mapping[str, object]]] = {arm: [] for arm in arms}
    for row in rows:
        arm, rate = row['arm'], row.get('rate')
        if arm in of_arm and rate is not None and row['seed'] in seeds:
            of_arm[arm].append(row)
            done[arm].setdefault(known_rate(rate, done[arm]), set()).add(row['seed'])
    choices: dict[str, Choice] = {}
    extra = 0

    def found(pending: tuple[tuple[str, float, int], ...], rounds: int) -> RateSearch:
        rates = {arm: tuple(of_arm) for arm, of_arm in tried.items()}
        return RateSearch(pending=pending, choices=choices, rounds=rounds, tried=rates)

    while True:
        pending = tuple(
            (arm, rate, seed)
            for arm, rates in tried.items()
            for rate in rates
            for seed in seeds
            if seed not in done[arm].get(known_rate(rate, done[arm]), ())
        )
        if pending:
            return found(pending, max(0, extra - 1))
        choices = {
            arm: choose_rate(
                rate_curve(_among(of_arm[arm], rates), metric, seeds),
                higher_is_better=metric.higher_is_better,
                tolerance=tolerance,
            )
            for arm, rates in tried.items()
        }
        trials = next_trials(grid, choices, max_extra=max_extra)
        if not trials:
            return found((), extra)
        extra += 1
        for arm, rate in trials.items():
            tried[arm] = check_rates([*tried[arm], rate])


def grid_of(arm: str, grid: Grid) -> Sequence[float]:
    """The starting rates of an arm.

    >>> grid_of('head', {'full': [1e-4], 'head': [1e-2]})
    [0.01]
    """
    return grid[arm] if isinstance(grid, Mapping) else grid


def grid_factor(rates: Sequence[float]) -> float:
    """The factor between neighbours of a starting grid (their geometric mean); 0 to 1 rates: 3.

    >>> grid_factor([1e-4, 1e-3, 1e-2])
    10.0
    """
    rates = check_rates(rates)
    if len(rates) < 2:
        return 3.0
    return round((rates[-1] / rates[0]) ** (1 / (len(rates) - 1)), 9)


def next_trials(
    grid: Grid,
    choices: Mapping[str, Choice],
    *,
    max_extra: int = 2,
    lowest: float = 1e-8,
    highest: float = 100.0,
) -> dict[str, float]:
    """The next rate of every arm, or nothing when the search is over.

    While any arm's winner lies on the edge of what it tried, every arm that searches gets
    one more rate, so that all keep the same number of trials: beyond the edge by the grid's
    own factor for those arms, between the winner and its better neighbour for the others.

    Args:
      grid: the starting rates, the same for every arm or equally many for each.
      choices: arm to its choice on all its trials so far; arms that are not trained are
        passed over.
      max_extra: rates an arm may get beyond the grid.
      lowest, highest: no rate is proposed outside these.

    Returns:
      Arm to rate; empty when no winner is on an edge, or no arm on an edge can go further.
    """
    sizes = {arm: len(grid_of(arm, grid)) for arm in choices}
    searching = {
        arm: choice
        for arm, choice in choices.items()
        if choice.rate is not None and choice.trials >= sizes[arm] > 1
    }
    beyond: dict[str, float] = {}
    for arm, choice in searching.items():
        if choice.rate is None or choice.edge is None:
            continue
        if choice.trials - sizes[arm] >= max_extra:
            continue
        factor = grid_factor(grid_of(arm, grid))
        rate = choice.rate / factor if choice.edge == 'low' else choice.rate * factor
        if lowest <= rate <= highest:
            beyond[arm] = _rounded(rate)
    if not beyond:
        return {}
    return {
        arm: beyond.get(arm, _rounded(refinement(choice)))
        for arm, choice in searching.items()
        if choice.trials - sizes[arm] < max_extra
    }


def refinement(choice: Choice) -> float:
    """The geometric middle between the winner and the neighbour that did better.

    The neighbour with fewer diverged seeds is preferred, then the one whose mean is nearer
    the winner's; at an edge there is only one.
    """
    rates = [point.rate for point in choice.curve]
    at = rates.index(choice.rate)
    winner = choice.curve[at]

    def badness(point: RatePoint) -> tuple[int, float]:
        if point.mean is None or winner.mean is None:
            return point.n_unfinished, math.inf
        return point.n_unfinished, abs(point.mean - winner.mean)

    neighbours = [choice.curve[i] for i in (at - 1, at + 1) if 0 <= i < len(rates)]
    neighbour = min(neighbours, key=badness)
    if winner.rate is None or neighbour.rate is None:
        raise ValueError('an arm that is not trained has no rate to refine')
    return math.sqrt(winner.rate * neighbour.rate)


def _among(rows: Rows, rates: Sequence[float]) -> list[Mapping[str, object]]:
    return [row for row in rows if known_rate(row['rate'], rates) in rates]


def _rounded(rate: float) -> float:
    # Readable rates, and the same ones whichever way they were reached: .003, not .0029999.
    return float(f'{rate:.6g}')
