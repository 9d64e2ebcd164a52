"""A race held against the full grid on the same scores, without a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from ftjax.ablation.engines.engine import Execute
from ftjax.ablation.grid.cell_schedule import FullGrid, Schedule
from ftjax.ablation.racing.looks import final
from ftjax.ablation.racing.race import Race
from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.comparison import Comparison, compare_to_reference
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.tasks.metrics import metric_of


@dataclasses.dataclass(frozen=True)
class Replay:
    """What a race and the full grid said of one set of scores.

    Attributes:
      verdicts: arm to the verdicts of the full grid and of the race.
      rates: arm to the rates that both chose.
      seconds: of the runs of the full grid and of the race.
      runs: of both.
    """

    verdicts: Mapping[str, tuple[str, str]]
    rates: Mapping[str, tuple[float | None, float | None]]
    seconds: tuple[float, float]
    runs: tuple[int, int]


def replay(settings: AblationSettings, race: Race, execute: Execute) -> Replay:
    """Runs both on the same cells.

    Args:
      settings: of the full grid.
      race: on the same arms, rates and seeds.
      execute: the fields of a cell's row, the same whenever it is asked.
    """
    rows, raced = play(FullGrid(settings), execute), play(race, execute)
    full, rates = full_verdicts(settings, rows, race)
    state = race.state(raced)
    found = {arm: one.verdict for arm, (_, one) in final(state.looks).items()}
    return Replay(
        verdicts={one.arm: (one.verdict, found.get(one.arm, 'undecided')) for one in full},
        rates={arm: (rate, state.rates.get(arm)) for arm, rate in rates.items()},
        seconds=(seconds_of(rows), seconds_of(raced)),
        runs=(len(rows), len(raced)),
    )


def play(schedule: Schedule, execute: Execute) -> list[OwnRow]:
    """All rows that a schedule asks for."""
    rows: list[OwnRow] = []
    while cells := schedule.pending(rows):
        for arm, rate, seed in cells:
            rows.append({'arm': arm, 'rate': rate, 'seed': seed, **execute(arm, rate, seed)})
    return rows


def full_verdicts(
    settings: AblationSettings, rows: list[OwnRow], race: Race
) -> tuple[Comparison, dict[str, float | None]]:
    """The verdicts of a full grid with all of alpha, and the rates they are at."""
    metric = metric_of(settings.metric)
    choices = FullGrid(settings).search(rows).choices
    rates: dict[str, float | None] = {
        arm: choices[arm].rate if arm in choices else None for arm in settings.arms
    }
    by_cell = {(row['arm'], row['rate'], row['seed']): row for row in rows}
    scores = {}
    for arm, rate in rates.items():
        found = [score_of(by_cell[arm, rate, seed], metric) for seed in settings.draws]
        scores[arm] = [math.nan if score is None else score for score in found]
    compared = compare_to_reference(
        scores,
        race.reference,
        higher_is_better=metric.higher_is_better,
        margin=race.margin,
        alpha=race.alpha,
        outside_prior=race.outside_prior,
    )
    return compared, rates


def seconds_of(rows: list[OwnRow]) -> float:
    """Time of all runs."""
    return math.fsum(row.get('wall_seconds') or 0.0 for row in rows)


def at(table: Mapping[tuple[str, float | None, int], OwnRow]) -> Execute:
    """Reads rows from a table in place of running them."""
    return lambda arm, rate, seed: table[arm, rate, seed]
