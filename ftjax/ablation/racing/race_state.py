"""What a race is told, and its state."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

from ftjax.ablation.budgets.budget import Budget
from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.short_runs import arm_and_share
from ftjax.ablation.racing.ledger import Ledger, Round
from ftjax.ablation.racing.looks import Look
from ftjax.ablation.racing.narrowing import Narrowing
from ftjax.ablation.rates.choice import Choice, RatePoint, choose_rate, rate_curve
from ftjax.ablation.settings import AblationSettings
from ftjax.evaluation.metric import Metric
from ftjax.tasks.metrics import metric_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """What decides a race besides the rows.

    Attributes:
      settings: of the ablation; short runs are arms of it, where there are any.
      budget: what may be spent.
      margin: of the metric, below which a difference does not matter.
      expected: cost of a full run of an arm, in units of the budget, as estimated beforehand.
      workers: runs at a time.
      alpha: of all verdicts, over all looks.
      outside_prior: arms whose spread says nothing of the others'.
    """

    settings: AblationSettings
    budget: Budget
    margin: float
    expected: Callable[[str], float] = lambda arm: 1.0
    workers: int = 1
    alpha: float = 0.05
    outside_prior: Collection[str] = ()

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
    def draws(self) -> tuple[int, ...]:
        """All seeds that there are."""
        return self.settings.draws

    @property
    def metric(self) -> Metric:
        """That of rates and verdicts."""
        return metric_of(self.settings.metric)


@dataclasses.dataclass
class RaceState:
    """The state of a race.

    Attributes:
      ledger: rows that count and what they cost.
      rates: arm to its chosen rate, None for one that is not trained; arms that never finished
        a run are left out.
      tried: arm to the rates that its edges are judged by.
      full: arm to the rates that were run in full, each with the first seed at least.
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

    def round(self, what: str, cells: Sequence[Cell]) -> Round:
        """A round of those of the cells that have not been run, with its forecast."""
        new = self.ledger.new(cells)
        return Round(what, new, self.ledger.forecast(new))


def cells_of(grid: Mapping[str, Sequence[float | None]], seeds: Sequence[int]) -> list[Cell]:
    """Every rate of every arm with every seed."""
    return [(arm, rate, seed) for arm, rates in grid.items() for rate in rates for seed in seeds]


def curve_of(
    terms: Terms, state: RaceState, arm: str, rates: Sequence[float], seeds: int
) -> tuple[RatePoint, ...]:
    """The validation results of an arm at some rates, over the first seeds."""
    rows = [row for row in state.ledger.rows(arm) if row['rate'] in rates]
    return rate_curve(rows, terms.metric, terms.draws[:seeds])


def choice_of(
    terms: Terms,
    state: RaceState,
    arm: str,
    rates: Sequence[float],
    seeds: int,
    tried: Sequence[float] = (),
) -> Choice:
    """The best of some rates of an arm, over the first seeds; see `choose_rate` for `tried`."""
    curve = curve_of(terms, state, arm, rates, seeds)
    return choose_rate(curve, higher_is_better=terms.metric.higher_is_better, tried=tried)


def runs_of(terms: Terms, state: RaceState, arm: str, rate: float | None) -> int:
    """Seeds that an arm has run at a rate, counted from the first without a gap."""
    there = (state.ledger.row((arm, rate, draw)) is not None for draw in terms.draws)
    return sum(1 for _ in itertools.takewhile(bool, there))
