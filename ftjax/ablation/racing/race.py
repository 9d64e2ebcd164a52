"""A race: rates first, then seeds for the arms still in question, within a budget.

1. Rates. Every arm tries the same number of rates with the first seed, and more while a best one
   lies on an edge. Where many rates make it worth it, all are tried by short runs first; a few
   arms, the pilots, are run in full at the same rates, and where both rank the rates alike, the
   others are run in full at the best two only. Validation decides, as everywhere.
2. Seeds. All arms are run with the seeds of the first look. At a look they are compared with the
   reference on test scores, at the level that `spending.py` grants it. An arm whose verdict is
   decided stops; the others and the reference go on to the next look.
3. The race ends when no arm is in question, when there are no seeds left, or when the next round
   is forecast not to fit the budget; the look before that is the last one, and spends all of alpha.

Everything follows from the rows, what they cost included, so that a race that was killed goes on
to the same rows. Source of the scheme: Maron and Moore (1994), Hoeffding races; with alpha spending
over looks, Jennison and Turnbull (2000), Group Sequential Methods.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.budgets.budget import Budget
from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.short_runs import arm_and_share, short
from ftjax.ablation.racing.ledger import Ledger, Round
from ftjax.ablation.racing.looks import Look
from ftjax.ablation.racing.narrowing import (
    SHARE,
    Narrowing,
    kept_rates,
    narrowing,
    pilots_of,
    worth_it,
)
from ftjax.ablation.racing.spending import spent
from ftjax.ablation.rates.choice import choose_rate, rate_curve, score_of
from ftjax.ablation.rates.search import search_rates
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.comparison import Comparison, compare_to_reference
from ftjax.tasks.metrics import metric_of

Rows = list[dict[str, Any]]
FIRST_LOOK = 3
"""Seeds of the first look: below three, a variance is hardly known."""
GROWTH = 1.5
"""Seeds of a look over those of the one before, about."""


@dataclasses.dataclass
class Standing:
    """Where a race stands.

    Attributes:
      ledger: rows that count and what they cost.
      rates: arm to its chosen rate, None for one that is not trained; arms that never finished
        a run are left out.
      tried: arm to the rates that its edges are judged by.
      full: arm to the rates that it chose among.
      narrowed: what short runs said; None where there were none.
      looks: in order.
      ended: why it ended; empty while it goes on.
      pending: cells that the current round still needs.
    """

    ledger: Ledger
    rates: dict[str, float | None] = dataclasses.field(default_factory=dict)
    tried: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    full: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    narrowed: Narrowing | None = None
    looks: list[Look] = dataclasses.field(default_factory=list)
    ended: str = ''
    pending: list[Cell] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Race:
    """Which cells of an ablation are run within a budget; see Schedule.

    Attributes:
      settings: of the ablation; short runs are arms of it, where there are any.
      budget: what may be spent.
      margin: of the metric, below which a difference does not matter.
      expected: cost of a full run of an arm, in units of the budget, as estimated beforehand.
      workers: runs at a time.
      alpha: of all verdicts, over all looks.
      tuning: seeds that choose the rates.
      outside_prior: arms whose spread says nothing of the others'.
    """

    settings: AblationSettings
    budget: Budget
    margin: float
    expected: Callable[[str], float] = lambda arm: 1.0
    workers: int = 1
    alpha: float = 0.05
    tuning: int = 1
    outside_prior: Collection[str] = ()
    _known: dict[Any, Comparison] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of the ablation, short runs left out."""
        return tuple(arm for arm in self.settings.arms if arm_and_share(arm)[1] == 1.0)

    @property
    def tuned(self) -> tuple[str, ...]:
        """Those of them that have a rate to tune."""
        return tuple(arm for arm in self.arms if arm in self.settings.tuned)

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.settings.reference or self.arms[0]

    @property
    def planned(self) -> int:
        """Runs at most, without further rates; see Schedule."""
        settings = self.settings
        return len(self.tuned) * (len(settings.rates) - 1) + len(self.arms) * len(settings.draws)

    def pending(self, rows: Rows) -> list[Cell]:
        """See Schedule."""
        return self.standing(rows).pending

    def present(self, rows: Rows) -> Rows:
        """See Schedule: once the race has ended, the rows that it asked for."""
        arms, draws = self.settings.arms, self.settings.draws
        rows = [row for row in rows if row['arm'] in arms and row['seed'] in draws]
        standing = self.standing(rows)
        return rows if standing.pending else list(standing.ledger.used.values())

    def results(self, rows: Rows) -> Rows:
        """The full runs at the rates that arms chose among, for a summary.

        `tried` in a row holds the rates that edges are judged by.
        """
        standing = self.standing(rows)
        kept = []
        for row in standing.ledger.used.values():
            arm, rate = row['arm'], row['rate']
            if arm in self.tuned and rate in standing.full.get(arm, ()):
                kept.append({**row, 'tried': list(standing.tried[arm])})
            elif arm in self.arms and rate is None:
                kept.append(row)
        return kept

    def standing(self, rows: Rows) -> Standing:
        """Replays the race on the rows, up to the first round that is not complete."""
        ledger = Ledger(rows, self.budget, self.workers, self.expected)
        standing = Standing(ledger)
        for found in self._rounds(standing):
            missing = ledger.missing(found.cells)
            if missing:
                standing.pending = missing
                return standing
            ledger.take(found)
        return standing

    def _rounds(self, standing: Standing) -> Iterator[Round]:
        """The race as it is told above; a round is yielded, its rows are in the ledger after."""
        yield from self._rates(standing)
        if not standing.ended:
            yield from self._seeds(standing)

    def _round(self, standing: Standing, what: str, cells: Sequence[Cell]) -> Round:
        new = standing.ledger.new(cells)
        return Round(what, new, standing.ledger.forecast(new))

    # Rates.

    def _rates(self, standing: Standing) -> Iterator[Round]:
        ledger, settings = standing.ledger, self.settings
        seeds = settings.draws[: self.tuning]
        baselines: list[Cell] = [
            (a, None, s) for a in self.arms if a not in self.tuned for s in seeds
        ]
        standing.rates = {arm: None for arm in self.arms if arm not in self.tuned}
        grids = {arm: sorted(settings.grids[arm]) for arm in self.tuned}
        most = len(settings.rates) if self.tuned else 0
        pilots = pilots_of(self.tuned, self.reference)
        if (
            worth_it(len(self.tuned), len(pilots), most)
            and short(self.tuned[0], SHARE) in settings.arms
        ):
            shorts = {short(arm, SHARE): grid for arm, grid in grids.items()}
            whole = [
                (arm, grids[arm][0], s) for arm in self.tuned for s in settings.draws[:FIRST_LOOK]
            ]
            full = _cells({arm: grids[arm] for arm in pilots}, seeds)
            if ledger.fits(_cells(shorts, seeds), full, whole):
                yield from self._short(standing, shorts, pilots, baselines)
                return
        # All rates, or of each arm the middle ones if the budget does not take more.
        for count in range(most, 0, -1):
            some = {arm: middle(grid, count) for arm, grid in grids.items()}
            cells = [*_cells(some, seeds), *baselines]
            if count == 1 or ledger.fits(cells, self._reserve(standing)):
                yield from self._search(standing, 'rates', some, cells)
                break
        else:
            yield self._round(standing, 'baselines', baselines)
        self._choose(standing, {arm: self._tried(standing, arm) for arm in self.tuned})

    def _reserve(self, standing: Standing) -> list[Cell]:
        """What the first look needs beside the seeds that choose rates."""
        draws = self.settings.draws[self.tuning : FIRST_LOOK]
        return [(arm, None, draw) for arm in self.arms for draw in draws]

    def _search(
        self,
        standing: Standing,
        what: str,
        grid: Mapping[str, Sequence[float]],
        cells: Sequence[Cell],
    ) -> Iterator[Round]:
        """The grid, and further rates while a best one is on an edge and the budget allows."""
        ledger, settings = standing.ledger, self.settings
        first = self._round(standing, what, cells)
        if not ledger.fits(first.cells):
            standing.ended = 'the budget does not take one run of every arm'
            return
        yield first
        while True:
            wanted = search_rates(
                [row for arm in grid for row in ledger.rows(arm)],
                arms=list(grid),
                grid=grid,
                seeds=settings.draws[: self.tuning],
                metric=settings.metric,
                max_extra=settings.max_extra,
            ).pending
            if not wanted or not ledger.fits(wanted, self._reserve(standing)):
                return
            yield self._round(standing, f'further {what}', wanted)

    def _short(
        self,
        standing: Standing,
        shorts: Mapping[str, Sequence[float]],
        pilots: Sequence[str],
        baselines: Sequence[Cell],
    ) -> Iterator[Round]:
        ledger, seeds = standing.ledger, self.settings.draws[: self.tuning]
        metric = metric_of(self.settings.metric)
        yield from self._search(
            standing, 'short runs', shorts, [*_cells(shorts, seeds), *baselines]
        )
        if standing.ended:
            return
        curves = {arm: self._curve(standing, short(arm, SHARE)) for arm in self.tuned}
        tried = {arm: self._tried(standing, short(arm, SHARE)) for arm in self.tuned}
        yield self._round(
            standing, 'pilots in full', _cells({arm: tried[arm] for arm in pilots}, seeds)
        )
        full = {arm: self._curve(standing, arm) for arm in pilots}
        standing.narrowed = narrowing(pilots, curves, full, metric)
        kept = tried
        if standing.narrowed.held:
            better = metric.higher_is_better
            kept = {
                arm: kept_rates(choose_rate(curve, higher_is_better=better), metric)
                for arm, curve in curves.items()
            }
        wanted = self._round(standing, 'rates', _cells(kept, seeds))
        if not standing.narrowed.held and not ledger.fits(wanted.cells, self._reserve(standing)):
            standing.ended = 'short runs do not rank rates as full ones do, and these do not fit'
            return
        yield wanted
        standing.tried = dict(tried)
        self._choose(standing, kept)

    def _curve(self, standing: Standing, arm: str) -> Any:
        seeds = self.settings.draws[: self.tuning]
        return rate_curve(standing.ledger.rows(arm), metric_of(self.settings.metric), seeds)

    def _tried(self, standing: Standing, arm: str) -> tuple[float, ...]:
        return tuple(sorted({row['rate'] for row in standing.ledger.rows(arm)}))

    def _choose(self, standing: Standing, kept: Mapping[str, Sequence[float]]) -> None:
        """The rate of every arm, among those kept."""
        metric = metric_of(self.settings.metric)
        seeds = self.settings.draws[: self.tuning]
        for arm in self.tuned:
            rows = [row for row in standing.ledger.rows(arm) if row['rate'] in kept[arm]]
            standing.full[arm] = tuple(kept[arm])
            standing.tried.setdefault(arm, tuple(kept[arm]))
            curve = rate_curve(rows, metric, seeds)
            choice = choose_rate(
                curve, higher_is_better=metric.higher_is_better, tried=standing.tried[arm]
            )
            if choice.rate is not None:
                standing.rates[arm] = choice.rate
        if not standing.ended and self.reference not in standing.rates:
            standing.ended = f'no run of the reference {self.reference} finished'

    # Seeds.

    def _seeds(self, standing: Standing) -> Iterator[Round]:
        ledger, draws = standing.ledger, self.settings.draws
        asked = [arm for arm in self.arms if arm in standing.rates and arm != self.reference]
        seen, used = self.tuning, 0.0
        while asked:
            if seen >= len(draws):
                standing.ended = f'all {len(draws)} seeds were run'
                return
            seeds = self._affordable(standing, asked, seen)
            if seeds is None:
                standing.ended = 'no further round fits the budget'
                return
            yield self._round(standing, f'seeds up to {seeds}', self._with(standing, asked, seeds))
            seen = seeds
            last = seen == len(draws) or self._affordable(standing, asked, seen) is None
            share = 1.0 if last else seen / len(draws)
            total = spent(share, self.alpha)
            look = Look(
                seeds=seen,
                alpha=total - used,
                alpha_spent=total,
                spent=ledger.spent,
                last=last,
                comparison=self._compare(standing, seen, total - used),
                asked=tuple(asked),
            )
            used = total
            standing.looks.append(look)
            asked = [arm for arm in asked if arm not in look.decided]
            if asked and last and seen < len(draws):
                standing.ended = 'no further round fits the budget'
                return
        standing.ended = 'every verdict is decided'

    def _affordable(self, standing: Standing, asked: Sequence[str], seen: int) -> int | None:
        """Seeds of the next look: as planned, or as many as the budget takes; None for none."""
        target = FIRST_LOOK if seen < FIRST_LOOK else math.ceil(seen * GROWTH)
        target = min(max(target, seen + 1), len(self.settings.draws))
        for seeds in range(target, seen, -1):
            cells = standing.ledger.new(self._with(standing, asked, seeds))
            if seeds >= 2 and standing.ledger.fits(cells):
                return seeds
        return None

    def _with(self, standing: Standing, asked: Sequence[str], seeds: int) -> list[Cell]:
        """Cells of the reference and of arms in question, with so many seeds."""
        return [
            (arm, standing.rates[arm], draw)
            for arm in (self.reference, *asked)
            for draw in self.settings.draws[:seeds]
        ]

    def _compare(self, standing: Standing, seeds: int, alpha: float) -> Comparison:
        metric, scores = metric_of(self.settings.metric), {}
        for arm, rate in standing.rates.items():
            rows = [standing.ledger.row((arm, rate, s)) for s in self.settings.draws[:seeds]]
            found = [None if row is None else score_of(row, metric) for row in rows]
            scores[arm] = [math.nan if score is None else score for score in found]
        key = repr((scores, alpha))
        if key not in self._known:
            self._known[key] = compare_to_reference(
                scores,
                self.reference,
                higher_is_better=metric.higher_is_better,
                margin=self.margin,
                alpha=alpha,
                outside_prior=[arm for arm in self.outside_prior if arm in scores],
            )
        return self._known[key]


def middle(rates: Sequence[float], count: int) -> list[float]:
    """So many neighbours from the middle of sorted rates.

    >>> middle([1, 2, 3, 4, 5], 3), middle([1, 2, 3, 4], 1)
    ([2, 3, 4], [2])
    """
    start = (len(rates) - count) // 2
    return list(rates[start : start + count])


def _cells(grid: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> list[Cell]:
    return [(arm, rate, seed) for arm, rates in grid.items() for rate in rates for seed in seeds]
