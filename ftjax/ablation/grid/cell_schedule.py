"""Which cells of a grid are run, in rounds that follow from the rows alone."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.rows import of_grid
from ftjax.ablation.rates.choice import known_rate
from ftjax.ablation.rates.search import RateSearch, search_rates
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import RowList


class Schedule(Protocol):
    """What is run next. Pure functions of the rows: an interrupted grid goes on by them."""

    @property
    def planned(self) -> int:
        """Runs that the grid needs, as far as that is known before the first."""
        ...

    @property
    def bound(self) -> str:
        """What `planned` is: 'at least' so many, or 'at most'."""
        ...

    def seconds_left(self, rows: RowList) -> float | None:
        """Seconds after which no further run begins; None where only the runs decide."""
        ...

    def pending(self, rows: RowList) -> list[Cell]:
        """The cells that the current round still needs; none when the grid is done."""
        ...

    def present(self, rows: RowList) -> RowList:
        """The rows that are of this grid among those of a folder."""
        ...


@dataclasses.dataclass(frozen=True)
class FullGrid:
    """Every rate with every seed, and further rates while a winner lies on an edge.

    With `tuning_seeds` every rate is run with these, and then the chosen one with the others.
    """

    settings: AblationSettings

    @property
    def planned(self) -> int:
        """See Schedule."""
        settings = self.settings
        seeds, tuning, arms = len(settings.draws), len(settings.tuning_draws), len(settings.tuned)
        runs = arms * (len(settings.rates) * tuning + seeds - tuning)
        return runs + (len(settings.arms) - arms) * seeds

    bound = 'at least'

    def seconds_left(self, rows: RowList) -> None:
        """See Schedule."""

    def pending(self, rows: RowList) -> list[Cell]:
        """See Schedule."""
        cells = untuned(self.settings, rows)
        if not self.settings.tuned:
            return cells
        search = self.search(rows)
        return [*cells, *(search.pending or self.at_chosen(search, rows))]

    def at_chosen(self, search: RateSearch, rows: RowList) -> list[Cell]:
        """Cells without a row at the rates that a search has chosen."""
        found: dict[str, set[int]] = {}
        for row in rows:
            choice = search.choices.get(row['arm'])
            if choice is not None and known_rate(row['rate'], [choice.rate]) == choice.rate:
                found.setdefault(row['arm'], set()).add(row['seed'])
        return [
            (arm, choice.rate, seed)
            for arm, choice in search.choices.items()
            if choice.rate is not None  # not one run at any rate was finished
            for seed in self.settings.draws
            if seed not in found.get(arm, ())
        ]

    def present(self, rows: RowList) -> RowList:
        """See Schedule: its arms, its seeds, and rates that the search has asked for."""
        settings = self.settings
        tried = self.search(rows).tried if settings.tuned else {}
        return of_grid(rows, settings.arms, settings.draws, tried)

    def search(self, rows: RowList) -> RateSearch:
        """Where the search for rates stands."""
        settings = self.settings
        return search_rates(
            [row for row in rows if row['arm'] in settings.tuned],
            arms=settings.tuned,
            grid=settings.grids,
            seeds=settings.tuning_draws,
            metric=settings.metric,
            max_extra=settings.max_extra,
        )


def untuned(settings: AblationSettings, rows: RowList) -> list[Cell]:
    """Cells without a row of the arms that have no rate to tune."""
    seen = {(row['arm'], row['seed']) for row in rows if row['rate'] is None}
    return [
        (arm, None, seed)
        for arm in settings.arms
        if arm not in settings.tuned
        for seed in settings.draws
        if (arm, seed) not in seen
    ]
