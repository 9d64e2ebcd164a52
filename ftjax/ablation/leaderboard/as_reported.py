"""What the report of a setting knows beside its rows, so that the board says the same as it.

That stands in the summary.json beside the rows: the reference arm, arms outside the prior of
variances, folds, the seeds that chose rates, the margin, and, of a race, its verdicts and the
rates that it chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.ablation.leaderboard.settings_found import Setting
from ftjax.ablation.statistics.row_types import RowList
from ftjax.tasks.metrics import metric_of


def as_reported(setting: Setting, metric: str) -> tuple[RowList, dict[str, Any]]:
    """The rows of a setting and the options of `summarise` that its report was made with.

    Margin and verdicts of a race are of the report's own metric; by another metric they are left
    out. Without a report the reference is `full`, or the first arm.

    Args:
      setting: whose rows, submissions among them, are compared.
      metric: by which.
    """
    # A task is the setting here: its name is no longer wanted in the rows.
    rows = [{k: v for k, v in one.row.items() if k != 'task'} for one in setting.rows]
    arms, told = list(setting.arms), setting.report
    options: dict[str, Any] = {'reference': 'full' if 'full' in arms else arms[0]}
    if told is None:
        return rows, options
    if told['reference'] in arms:
        options['reference'] = told['reference']
    kept = ('outside_prior', 'folds', 'tuning_seeds')
    options |= {key: told[key] for key in kept if key in told}
    own = metric_of(metric).name == told['metric']
    if own and 'margin' in told:
        options['margin'] = told['margin']
    races = told.get('races') or {}
    race = races.get(setting.task, races.get(''))
    if race is None:
        return rows, options
    if own:
        options['races'] = {'': race}
    return at_raced_rates(rows, setting), options


def at_raced_rates(rows: RowList, setting: Setting) -> RowList:
    """Rows that name the rate which the race chose, from more seeds than all rates have."""
    chosen = {arm['arm']: arm['rate'] for arm in _arms_told(setting) if arm['rate'] is not None}
    tried = {
        arm: sorted({one.row['rate'] for one in found if one.row['rate'] is not None})
        for arm, found in setting.arms.items()
    }
    return [
        {**row, 'chosen': chosen[row['arm']], 'tried': tried[row['arm']]}
        if row['arm'] in chosen
        else row
        for row in rows
    ]


def _arms_told(setting: Setting) -> list[Mapping[str, Any]]:
    tasks = setting.report['tasks'] if setting.report else []
    return [
        arm for task in tasks if task['task'] == (setting.task or 'all') for arm in task['arms']
    ]
