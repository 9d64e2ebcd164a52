"""A grid whose trials a sampler draws: `ablation.search`."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.cell_schedule import untuned
from ftjax.ablation.grid.rows import cell_of, of_grid
from ftjax.ablation.grid.short_runs import short
from ftjax.ablation.grid.variants import named
from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.rates.trials import SHARES, Trial, next_of
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import RowList
from ftjax.tasks.metrics import metric_of


@dataclasses.dataclass(frozen=True)
class Trials:
    """Equally many trials for every arm, each with every seed; see Schedule.

    Attributes:
      settings: of the ablation, its variants not spelt out: see `variants.expanded`.
    """

    settings: AblationSettings

    @property
    def planned(self) -> int:
        """See Schedule."""
        settings, trials = self.settings, self.settings.trials
        if settings.search == 'halving':
            trials = sum(math.ceil(trials / 2**rung) for rung in range(len(SHARES)))
        arms = len(settings.tuned) * trials + len(settings.arms) - len(settings.tuned)
        return arms * len(settings.draws)

    bound = 'at least'

    def seconds_left(self, rows: RowList) -> None:
        """See Schedule."""

    def pending(self, rows: RowList) -> list[Cell]:
        """See Schedule."""
        known = {cell_of(row) for row in rows}
        wanted = [cell for arm in self.settings.tuned for cell in self._cells(arm, rows)[1]]
        missing = [c for c in wanted if (None, c[0], f'{c[1]:.9g}', c[2]) not in known]
        return [*untuned(self.settings, rows), *missing]

    def present(self, rows: RowList) -> RowList:
        """See Schedule."""
        settings = self.settings
        rates: dict[str, set[float]] = {}
        for arm in settings.tuned:
            for name, rate, _ in [cell for part in self._cells(arm, rows) for cell in part]:
                rates.setdefault(name, set()).add(rate)
        plain = [arm for arm in settings.arms if arm not in settings.tuned]
        tried = {name: tuple(of_name) for name, of_name in rates.items()}
        return of_grid(rows, {*plain, *tried}, settings.draws, tried)

    def _cells(self, arm: str, rows: RowList) -> tuple[list[Any], list[Any]]:
        done, wanted = self._trials(arm, rows)
        draws = self.settings.draws
        return (
            [(self._name(arm, trial), trial.rate, draw) for trial in done for draw in draws],
            [(self._name(arm, trial), trial.rate, draw) for trial in wanted for draw in draws],
        )

    def _trials(self, arm: str, rows: RowList) -> tuple[list[Trial], list[Trial]]:
        settings = self.settings
        return next_of(
            settings.search,
            functools.partial(self._score, arm, {cell_of(row): row for row in rows}),
            rates=settings.grids[arm],
            tune=settings.tune,
            trials=settings.trials,
        )

    def _name(self, arm: str, trial: Trial) -> str:
        return short(named(arm, self.settings.tune, trial.values), trial.share)

    def _score(self, arm: str, known: dict[tuple[Any, ...], Any], trial: Trial) -> float | None:
        name, metric = self._name(arm, trial), metric_of(self.settings.metric)
        cells = [(None, name, f'{trial.rate:.9g}', draw) for draw in self.settings.draws]
        if not all(cell in known for cell in cells):
            return None
        scores = [score_of(known[cell], metric, 'val') for cell in cells]
        finished = [metric.sign * score for score in scores if score is not None]
        return math.fsum(finished) / len(scores) if len(finished) == len(scores) else math.nan
