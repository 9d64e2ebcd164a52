"""The table of what arms forgot in a sequence of tasks."""

from __future__ import annotations

from ftjax.ablation.report.arm_cells import with_bounds
from ftjax.ablation.statistics.row_types import Summary


def forgetting_table(
    task: Summary, summary: Summary
) -> tuple[str, list[str], list[list[str]]] | None:
    """Forgetting after every task of a sequence: a sentence, header and rows; or None."""
    arms = [(arm['arm'], arm.get('forgetting') or {}) for arm in task['arms']]
    columns = list(dict.fromkeys(name for _, found in arms for name in found))
    if not columns:
        return None
    told = (
        f'Forgetting: by how much the {summary["metric"]} of earlier tasks is worse after a task '
        'than it was when each had just been learned, the mean over these tasks and over seeds '
        f'with its {100 * summary["confidence"]:g} % t interval. In brackets after |: the '
        f'difference to {summary["reference"]} on the same seeds, in intervals that hold together '
        'for all arms of a column; below 0 less is forgotten. In the units of the table above.'
    )
    last = columns[-1]
    known = any((found.get(last) or {}).get('learned') for _, found in arms)
    if known:
        told += (
            f' As learned: the mean {summary["metric"]} of the tasks before the last one, each just'
            ' after it. An arm that learns little has little to forget; where classes are not'
            ' equally frequent, compare with always answering the most frequent one.'
        )

    def cell(found: Summary | None) -> str:
        if found is None or found['mean'] is None:
            return '–'
        told = [found['mean'], *([found['difference']] if found['difference'] else [])]
        return ' | '.join(with_bounds(one, summary['metric'], signed=True) for one in told)

    def learned(found: Summary) -> list[str]:
        start = (found.get(last) or {}).get('learned')
        return [with_bounds(start, summary['metric'])] if known else []

    header = ['arm', *(['as learned'] if known else []), *columns]
    return told, header, [[arm, *learned(f), *(cell(f.get(c)) for c in columns)] for arm, f in arms]
