"""The race of one task: its arms, short runs among them, its share of the budget, its estimates."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from ftjax.ablation.budgets.budget import Budget, read_budget
from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.grid.short_runs import arm_and_share, with_short_runs
from ftjax.ablation.racing.narrowing import SHARE, pilots_of, worth_it
from ftjax.ablation.racing.race import Race
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.margin import default_margin
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.json.stored_fields import check_fields_of
from ftjax.tasks.metrics import metric_of

START = 'race_start.json'


def budget_of_task(settings: AblationSettings, spent: Mapping[str, float], number: int) -> Budget:
    """The budget of a task: what those before it have left, shared out evenly.

    Args:
      settings: of all tasks.
      spent: by the races of those before it, by name.
      number: of the task, from 0.
    """
    budget = read_budget(settings.budget)
    left = budget.amount - sum(spent.values())
    return dataclasses.replace(budget, amount=left / max(1, len(settings.tasks) - number))


def race_of(
    settings: AblationSettings,
    budget: Budget,
    folder: pathlib.Path,
    workers: int = 1,
    runner: CellRunner | None = None,
) -> Race:
    """The race of one task.

    What the runs of arms were estimated to cost, and how many ran at a time, is kept in the folder
    as it was at the start: a later call decides by the same.

    Args:
      settings: of the grid, short runs among its arms.
      budget: of the task.
      folder: of the task.
      workers: runs at a time.
      runner: estimates; None where rows are there and nothing is run.
    """
    path = folder / START

    def estimated(arm: str) -> float:
        if budget.kind == 'runs' or runner is None:
            return 1.0
        if budget.kind == 'seconds':
            return runner.seconds(arm)
        length = runner.length(arm) if arm in settings.tuned else None
        return 0.0 if length is None else length.steps * length.flops

    found = read_json(path) if path.exists() else {'workers': workers}
    check_fields_of(found, os.fspath(path), {'workers': int})
    # A budget in another unit has estimates of its own.
    if budget.kind in found:
        check_fields_of(found, os.fspath(path), {budget.kind: dict})
    known = found.get(budget.kind, {})
    arms = [arm for arm in settings.arms if arm_and_share(arm)[1] == 1.0]
    new = {arm: estimated(arm) for arm in arms if arm not in known}
    expected = {**known, **new}
    if new and runner is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {**found, budget.kind: expected})
    margin = default_margin(metric_of(settings.metric))
    return Race(
        settings=settings,
        budget=budget,
        margin=margin if settings.margin is None else settings.margin,
        expected=expected.__getitem__,
        workers=found['workers'],
        outside_prior=settings.outside_prior,
    )


def with_pilots(settings: AblationSettings, values: Mapping[str, object]) -> AblationSettings:
    """The settings with short runs of all arms, where a race would narrow the rates by them."""
    pilots = pilots_of(settings.tuned, settings.reference or next(iter(settings.arms)))
    if not worth_it(len(settings.tuned), len(pilots), len(settings.rates)):
        return settings
    return with_short_runs(settings, values, (SHARE,))
