"""What a race has run so far, round by round, what that has cost, and what a round would cost."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence

from ftjax.ablation.budgets.budget import Budget
from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.forecast import makespan
from ftjax.ablation.grid.rows import cell_of
from ftjax.ablation.grid.short_runs import arm_and_share
from ftjax.ablation.statistics.row_types import OwnRow


@dataclasses.dataclass(frozen=True)
class Round:
    """Cells that are run before the next decision.

    Attributes:
      what: 'rates', 'short runs', 'seeds', .. in words.
      cells: of the round that had not been run before.
      forecast: its cost as forecast, None before anything was measured or estimated.
    """

    what: str
    cells: tuple[Cell, ...]
    forecast: float | None


class Ledger:
    """Rows by cell, in the order in which rounds asked for them.

    A decision sees the rows of rounds before it alone, so that it is the same whenever it is
    replayed, whatever else a folder holds.
    """

    def __init__(
        self,
        rows: Sequence[OwnRow],
        budget: Budget,
        workers: int,
        expected: Callable[[str], float],
    ):
        """`expected` is the cost of a full run of an arm as estimated beforehand."""
        self.there = {key_of(row['arm'], row['rate'], row['seed']): row for row in rows}
        self.budget, self.workers, self.expected = budget, workers, expected
        self.spent = 0.0
        self.used: dict[tuple[object, ...], OwnRow] = {}
        self.rounds: list[tuple[Round, float]] = []
        """Rounds that are complete, each with what it cost."""
        self._costs: dict[str, list[float]] = {}

    def new(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """Those of the cells that no round has asked for."""
        return tuple(cell for cell in dict.fromkeys(cells) if key_of(*cell) not in self.used)

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those of the cells that have no row."""
        return [cell for cell in cells if key_of(*cell) not in self.there]

    def take(self, done: Round) -> None:
        """Counts a round whose rows are all there."""
        costs = []
        for cell in done.cells:
            row = self.there[key_of(*cell)]
            self.used[key_of(*cell)] = row
            costs.append(self.budget.cost(row, arm_and_share(cell[0])[1]))
            # Alone, a run takes at most what the program takes in which it had company.
            company = (row.get('vectorised') or 1) if self.budget.kind == 'seconds' else 1
            self._costs.setdefault(cell[0], []).append(costs[-1] * company)
        cost = self._together(costs)
        self.spent += cost
        self.rounds.append((done, cost))

    def forecast(self, cells: Sequence[Cell]) -> float:
        """What cells would cost, from the median of their arm's rows, or from estimates."""
        return self._together([self._expected(cell[0]) for cell in cells])

    def alone(self, arm: str) -> float:
        """What a further run of an arm adds; of time, its share where several run at a time."""
        cost = self._expected(arm)
        return cost / self.workers if self.budget.kind == 'seconds' else cost

    def fits(self, *groups: Sequence[Cell]) -> bool:
        """Whether cells, run group after group, end within the budget."""
        return self.spent + sum(map(self.forecast, groups)) <= self.budget.amount

    def rows(self, arm: str) -> list[OwnRow]:
        """The rows of an arm that rounds have asked for."""
        return [row for row in self.used.values() if row['arm'] == arm]

    def row(self, cell: Cell) -> OwnRow | None:
        """The row of a cell that a round has asked for."""
        return self.used.get(key_of(*cell))

    def _expected(self, arm: str) -> float:
        if arm in self._costs:
            return statistics.median(self._costs[arm])
        name, share = arm_and_share(arm)
        if self.budget.kind == 'runs':
            return share
        known = {arm_and_share(a): statistics.median(c) for a, c in self._costs.items()}
        of_arm = [cost / part * share for (other, part), cost in known.items() if other == name]
        if of_arm:
            return max(of_arm)
        guess = self.expected(name) * share
        # Estimates leave out compilation: where others were measured, theirs tell by how much.
        ratios = [c / (self.expected(a) * part) for (a, part), c in known.items() if c > 0]
        return guess * (statistics.median(ratios) if ratios else 1.0)

    def _together(self, costs: Sequence[float]) -> float:
        return makespan(costs, self.workers) if self.budget.kind == 'seconds' else sum(costs)


def key_of(arm: str, rate: float | None, seed: int) -> tuple[object, ...]:
    """A cell with its rate in nine digits."""
    return cell_of({'arm': arm, 'rate': rate, 'seed': seed})
