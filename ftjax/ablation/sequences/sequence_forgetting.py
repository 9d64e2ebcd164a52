"""Forgetting in a sequence of tasks: what scores lost since each task was learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftjax.ablation.sequences.joint_fields import mean_of
from ftjax.ablation.statistics.mean_interval import Interval, mean_interval
from ftjax.ablation.statistics.row_types import OwnRow, Rows, Summary

Scores = Mapping[str, Mapping[str, float | None]]
"""{task that was learned last: {task that is tested: score, None where it is undefined}}."""


def forgetting_after(scores: Scores, higher_is_better: bool) -> dict[str, float | None]:
    """{'after TASK': the mean loss of score of the tasks before it}, for all but the first task.

    The loss is counted from the score that a task had when it had just been learned; it is
    negative where later tasks helped, and None where one of the scores is undefined.

    >>> scores = {'a': {'a': 0.9}, 'b': {'a': 0.6, 'b': 0.8}, 'c': {'a': 0.5, 'b': 0.7, 'c': 0.9}}
    >>> {name: round(lost, 2) for name, lost in forgetting_after(scores, True).items()}
    {'after b': 0.3, 'after c': 0.25}
    """
    sign = 1.0 if higher_is_better else -1.0
    tasks = list(scores)
    found: dict[str, float | None] = {}
    for number, last in enumerate(tasks):
        if number:
            pairs = [(scores[task][task], scores[last][task]) for task in tasks[:number]]
            lost = [None if a is None or b is None else sign * (a - b) for a, b in pairs]
            found[f'after {last}'] = mean_of(lost)
    return found


def learned_before(scores: Scores) -> dict[str, float | None]:
    """{'after TASK': the mean score of the tasks before it, each as it had just been learned}.

    What is forgotten is counted from there.

    >>> scores = {'a': {'a': 0.9}, 'b': {'a': 0.6, 'b': 0.8}, 'c': {'a': 0.5, 'b': 0.7, 'c': 0.9}}
    >>> {name: round(mean, 2) for name, mean in learned_before(scores).items()}
    {'after b': 0.9, 'after c': 0.85}
    """
    tasks = list(scores)
    return {
        f'after {last}': mean_of(scores[task][task] for task in tasks[:number])
        for number, last in enumerate(tasks)
        if number
    }


def forgetting_of_arm(rows: Rows, confidence: float) -> dict[str, OwnRow]:
    """{'after TASK': {mean, learned, difference (None as yet), seeds}} of an arm.

    The means, of what was forgotten and of the scores that it is counted from, have t intervals
    over seeds; they are None where no seed has a number.
    """
    found: dict[str, OwnRow] = {}
    learned = [learned_before(row.get('scores') or {}) for row in rows]
    for name in dict.fromkeys(name for row in rows for name in row.get('forgetting') or {}):
        seeds = {row['seed']: (row.get('forgetting') or {}).get(name) for row in rows}
        found[name] = {
            'mean': _mean_of_known(seeds.values(), confidence),
            'learned': _mean_of_known((one.get(name) for one in learned), confidence),
            'difference': None,
            'seeds': seeds,
        }
    return found


def _mean_of_known(values: Iterable[float | None], confidence: float) -> Interval | None:
    known = [value for value in values if value is not None]
    return mean_interval(known, confidence) if known else None


def forgotten(summary: Summary, last: str) -> Summary:
    """A summary as far as gates read it: what was forgotten after the task `last`, seed by seed.

    An arm, or a seed, of which that is not known has None.
    """
    (task,) = summary['tasks']
    arms = []
    for arm in task['arms']:
        found = arm['forgetting'].get(f'after {last}', {'seeds': {}})['seeds']
        arms.append({'arm': arm['arm'], 'seeds': {seed: found.get(seed) for seed in arm['seeds']}})
    return {**summary, 'higher_is_better': False, 'tasks': [{'task': task['task'], 'arms': arms}]}
