"""Reports on groups of tasks: where weights were put."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.ablation.gates.gates import gate
from ftjax.ablation.statistics.mean_interval import overlap_of
from ftjax.ablation.statistics.row_types import Rows, Summary


def weight_verdicts(
    summary: Summary,
    rows: Rows,
    group: str,
    names: Sequence[str],
) -> list[dict[str, object]]:
    """Reports on the weights that runs of some tasks chose, at their arm's chosen rate.

    Args:
      summary: from `summarise`, of all tasks.
      rows: of runs.jsonl; those with `weights` (name to number) are told.
      group: what the tasks are called together.
      names: the tasks.
    """
    rates = {
        (task['task'], arm['arm']): arm['rate'] for task in summary['tasks'] for arm in task['arms']
    }
    chosen = [
        row
        for row in rows
        if row.get('weights')
        and row['task'] in names
        and row['rate'] == rates[row['task'], row['arm']]
    ]
    found = []
    for arm in dict.fromkeys(row['arm'] for row in chosen):
        of_arm = [row for row in chosen if row['arm'] == arm]
        for place in of_arm[0]['weights']:
            by_seed = [
                np.mean([row['weights'][place] for row in of_arm if row['seed'] == seed])
                for seed in sorted({row['seed'] for row in of_arm})
            ]
            claim = f'{group}: mean weight of {arm} in {place} (1: its largest leaf)'
            overlap = overlap_of(summary.get('folds'))
            found.append(gate(claim, np.array(by_seed), 'report', overlap))
    return found
