"""All verdicts of a grid: gates, those of groups and of baselines, what moved, what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.ablation.cells.baselines import baseline_of
from ftjax.ablation.gates.gates import evaluate_gates
from ftjax.ablation.gates.task_gates import weight_verdicts
from ftjax.ablation.gates.test_set_gates import mean_of_shifts, movement_verdicts
from ftjax.ablation.retention.retained import kept
from ftjax.ablation.sequences.sequence_forgetting import forgotten
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import Rows, Summary
from ftjax.ablation.summary.overall import mean_of_tasks


def grid_verdicts(
    settings: AblationSettings, summary: Summary, rows: Rows
) -> list[dict[str, object]]:
    """Objects {gate, passed, value, interval, kind}, in the order of the config.

    Of several tasks the mean is judged, seed by seed.

    Args:
      summary: from `summarise`.
      rows: those it was made of.
    """
    every = [task['task'] for task in summary['tasks']]
    found = evaluate_gates(settings.gates, mean_of_tasks(summary, every))
    if settings.forgetting_gates:
        forgot = forgotten(summary, settings.sequence[-1])
        judged = evaluate_gates(settings.forgetting_gates, forgot, 'forgetting')
        found += [{**one, 'gate': f'forgetting: {one["gate"]}'} for one in judged]
    if settings.retention_gates:
        judged = evaluate_gates(settings.retention_gates, mean_of_tasks(kept(summary), every))
        where = f'{settings.retention}: '
        found += [{**one, 'gate': f'{where}{one["gate"]}'} for one in judged]
    for group, gates in settings.group_gates.items():
        names = settings.groups[group]
        if names[0] in settings.tasks:
            judged = mean_of_tasks(summary, names)
        else:
            judged = mean_of_tasks(mean_of_shifts(summary, names), every)
        of_group = evaluate_gates(gates, judged)
        found += [{**one, 'gate': f'{group}: {one["gate"]}'} for one in of_group]
    for group, names in settings.groups.items():
        if names[0] in settings.tasks:
            found += weight_verdicts(summary, rows, group, names)
    if len(every) == 1:
        found += movement_verdicts(summary, rows, settings.groups)
    baselines = {type(one): one for arm in settings.arms if (one := baseline_of(settings, arm))}
    for baseline in baselines.values():
        for task in every:
            of_task = [row for row in rows if len(every) == 1 or row['task'] == task]
            told = f'{task}: ' if len(every) > 1 else ''
            on_task = baseline.verdicts(settings, of_task)
            found += [{**one, 'gate': f'{told}{one["gate"]}'} for one in on_task]
    return [_reported(one, settings.reports) for one in found]


def _reported(verdict: dict[str, object], reports: Sequence[str]) -> dict[str, object]:
    """A verdict, as a report where it is one of those that are told and not judged."""
    told = any(str(verdict['gate']).startswith(words) for words in reports)
    if not told:
        return verdict
    plain = {key: value for key, value in verdict.items() if key != 'decided_by'}
    return {**plain, 'kind': 'report', 'passed': None}
