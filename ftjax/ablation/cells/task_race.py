"""The race of one task: its arms, short runs among them, its share of the budget, its estimates."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.ablation.budgets.budget import Budget, read_budget
from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.grid.short_runs import arm_and_share, with_short_runs
from ftjax.ablation.racing.narrowing import SHARE, pilots_of, worth_it
from ftjax.ablation.racing.race import Race
from ftjax.ablation.settings import AblationSettings
from ftjax.io.files.atomic import write_json
from ftjax.io.json.stored_fields import read_fields

ESTIMATES = 'race_estimates.json'


def budget_of_task(settings: AblationSettings, races: Mapping[str, Any], number: int) -> Budget:
    """The budget of a task: what those before it have left, shared out evenly."""
    budget = read_budget(settings.budget)
    left = budget.amount - sum(race['spent'] for race in races.values())
    return dataclasses.replace(budget, amount=left / max(1, len(settings.tasks) - number))


def race_of(runner: CellRunner, folder: pathlib.Path, workers: int, budget: Budget) -> Race:
    """The race of one task. Estimates are kept in its folder: a later call decides by the same."""
    settings, path = runner.settings, folder / ESTIMATES

    def estimated(arm: str) -> float:
        if budget.kind == 'seconds':
            return runner.seconds(arm)
        if budget.kind == 'runs':
            return 1.0
        length = runner.length(arm) if arm in settings.tuned else None
        return 0.0 if length is None else length.steps * length.flops

    known = read_fields(path, {budget.kind: dict})[budget.kind] if path.exists() else {}
    arms = [arm for arm in settings.arms if arm_and_share(arm)[1] == 1.0]
    new = {arm: estimated(arm) for arm in arms if arm not in known}
    if new:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {budget.kind: {**known, **new}})
    return Race(
        settings=settings,
        budget=budget,
        margin=settings.equivalence_margin,
        expected=({**known, **new}).__getitem__,
        workers=workers,
        outside_prior=[arm for arm in arms if arm in settings.outside_prior],
    )


def with_pilots(settings: AblationSettings, values: Mapping[str, Any]) -> AblationSettings:
    """The settings with short runs of all arms, where a race would narrow the rates by them."""
    pilots = pilots_of(settings.tuned, settings.reference or next(iter(settings.arms)))
    if not worth_it(len(settings.tuned), len(pilots), len(settings.rates)):
        return settings
    return with_short_runs(settings, values, (SHARE,))
