"""A look: all arms compared at what may be spent on it, and whose verdict is final."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ftjax.ablation.statistics.comparison import ArmComparison, Comparison
from ftjax.io.json.json_values import JsonObject


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the scores.

    Attributes:
      seeds: that arms in question have run.
      alpha: level of its simultaneous intervals.
      alpha_spent: by all looks up to this one.
      spent: of the budget, in its unit.
      last: no further one was to come, so that all of alpha was spent.
      comparison: of all arms; those that had stopped with the seeds they had.
      asked: arms in question before it.
    """

    seeds: int
    alpha: float
    alpha_spent: float
    spent: float
    last: bool
    comparison: Comparison
    asked: tuple[str, ...]

    @property
    def decided(self) -> tuple[str, ...]:
        """Arms in question whose verdict this look gave: they stop."""
        return tuple(
            one.arm
            for one in self.comparison
            if one.arm in self.asked and one.verdict != 'undecided'
        )

    def described(self) -> JsonObject:
        """Numbers of the look, ready for JSON: those of the arms that were in question."""
        return {
            'seeds': self.seeds,
            'alpha': self.alpha,
            'alpha_spent': self.alpha_spent,
            'spent': self.spent,
            'last': self.last,
            'arms': {
                one.arm: {**numbers_of(one), 'stopped': one.arm in self.decided}
                for one in self.comparison
                if one.arm in self.asked
            },
        }


def numbers_of(one: ArmComparison) -> JsonObject:
    """An arm's comparison, its name left out."""
    return {key: value for key, value in dataclasses.asdict(one).items() if key != 'arm'}


def final(looks: Collection[Look]) -> dict[str, tuple[int, ArmComparison]]:
    """Arm to the number of the look that decided it, or of the last one, and what that said."""
    found: dict[str, tuple[int, ArmComparison]] = {}
    for number, look in enumerate(looks, 1):
        for one in look.comparison:
            if one.arm in look.asked:
                found[one.arm] = number, one
    return found
