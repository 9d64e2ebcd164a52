"""A race: rates first, then seeds for the arms still in question, within a budget.

1. Rates (`rate_rounds.py`). Every arm tries the same number of rates with the first seed, and more
   while a best one lies on an edge. Where many rates make it worth it, all are tried by short runs
   first; a few arms, the pilots, are run in full at the same rates, and where both rank the rates
   alike, the others are run in full at the best two only. Validation decides, as everywhere.
2. Seeds (`seed_rounds.py`). One seed more for the reference and the arms in question, each at the
   rate that is ahead, and at further rates as far as the budget reaches (`allocation.py`). Then
   arms are compared with the reference on test scores, at the level that `spending.py` grants that
   look. An arm whose verdict is decided stops; the others and the reference go on.
3. The race ends when no arm is in question, when there are no seeds left, or when the next round
   is forecast not to fit the budget; the look before that is the last one, and spends all of alpha.

Everything follows from the rows, what they cost included, so that a race that was killed goes on
to the same rows. Source of the scheme: Maron and Moore (1994), Hoeffding races; with levels of
looks as in group-sequential trials, Jennison and Turnbull (2000), Group Sequential Methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.racing.ledger import Ledger, Round
from ftjax.ablation.racing.race_state import RaceState, Terms
from ftjax.ablation.racing.rate_rounds import rate_rounds
from ftjax.ablation.racing.seed_rounds import Scores, seed_rounds
from ftjax.ablation.statistics.comparison import Comparison, compare_to_reference
from ftjax.ablation.statistics.row_types import RowList


@dataclasses.dataclass(frozen=True, kw_only=True)
class Race(Terms):
    """Which cells of an ablation are run within a budget; see Schedule."""

    _known: dict[object, Comparison] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def planned(self) -> int:
        """Runs at most, without further rates; see Schedule."""
        runs = len(self.tuned) * len(self.settings.rates) + len(self.arms) - len(self.tuned)
        return runs * len(self.draws)

    bound = 'at most'

    def seconds_left(self, rows: RowList) -> float | None:
        """See Schedule: what is left of a budget of time."""
        if self.budget.kind != 'seconds':
            return None
        return max(0.0, self.budget.amount - self.state(rows).ledger.spent)

    def pending(self, rows: RowList) -> list[Cell]:
        """See Schedule."""
        return self.state(rows).pending

    def present(self, rows: RowList) -> RowList:
        """See Schedule: once the race has ended, the rows that it asked for."""
        arms = self.settings.arms
        rows = [row for row in rows if row['arm'] in arms and row['seed'] in self.draws]
        state = self.state(rows)
        return rows if state.pending else list(state.ledger.used.values())

    def results(self, rows: RowList) -> RowList:
        """The full runs at the rates that arms chose among, for a summary.

        `tried` in a row holds the rates that edges are judged by, `chosen` the rate of its arm.
        """
        state = self.state(rows)
        kept = []
        for row in state.ledger.used.values():
            arm, rate = row['arm'], row['rate']
            if arm in self.tuned and rate in state.full.get(arm, ()):
                more = {'tried': list(state.tried[arm]), 'chosen': state.rates.get(arm)}
                kept.append({**row, **more})
            elif arm in self.arms and rate is None:
                kept.append(row)
        return kept

    def state(self, rows: RowList) -> RaceState:
        """Replays the race on the rows, up to the first round that is not complete."""
        ledger = Ledger(rows, self.budget, self.workers, self.expected)
        state = RaceState(ledger)
        for found in self._rounds(state):
            missing = ledger.missing(found.cells)
            if missing:
                state.pending = missing
                return state
            ledger.take(found)
        return state

    def _rounds(self, state: RaceState) -> Iterator[Round]:
        """The race as it is told above; a round is yielded, its rows are in the ledger after."""
        yield from rate_rounds(self, state)
        if not state.ended:
            yield from seed_rounds(self, state, self._compare)

    def _compare(self, scores: Scores, alpha: float) -> Comparison:
        key = repr((scores, alpha))
        if key not in self._known:
            self._known[key] = compare_to_reference(
                scores,
                self.reference,
                higher_is_better=self.metric.higher_is_better,
                margin=self.margin,
                alpha=alpha,
                outside_prior=[arm for arm in self.outside_prior if arm in scores],
            )
        return self._known[key]
