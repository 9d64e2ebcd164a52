"""What the runs of an arm keep: their scores on the test set that `ablation.retention` names."""

from __future__ import annotations

from ftjax.ablation.retention.retention import Retention
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.ablation.statistics.row_types import OwnRow, Rows, Summary


def retained_by_arm(
    rows: Rows, retention: Retention, confidence: float, overlap: float = 0.0
) -> OwnRow | None:
    """{mean (t interval over seeds), change (None as yet), seeds}; None where no run has a score.

    Args:
      rows: finished ones of an arm, at its chosen rate.
      overlap: of folds; see `statistics.mean_interval`.
    """
    seeds = {
        row['seed']: retention.metric.value_in((row.get('shifts') or {}).get(retention.of, {}))
        for row in rows
    }
    finished = [score for score in seeds.values() if score is not None]
    if not finished:
        return None
    return {
        'mean': mean_interval(finished, confidence, overlap),
        'change': None,
        'seeds': seeds,
    }


def kept(summary: Summary) -> Summary:
    """A summary as far as gates read it: the scores of what is kept, seed by seed.

    An arm, or a seed, of which that is not known has None.
    """
    told, tasks = summary['retention'], []
    for task in summary['tasks']:
        arms = []
        for arm in task['arms']:
            found = (arm['retention'] or {'seeds': {}})['seeds']
            seeds = {seed: found.get(seed) for seed in arm['seeds']}
            arms.append({'arm': arm['arm'], 'seeds': seeds})
        tasks.append({'task': task['task'], 'arms': arms})
    own = {key: told[key] for key in ('metric', 'higher_is_better', 'margin')}
    return {**summary, **own, 'tasks': tasks}
