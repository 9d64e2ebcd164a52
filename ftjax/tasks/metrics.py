"""Metrics by name, over all tasks.

>>> metric_of('mse').higher_is_better, metric_of('accuracy').higher_is_better
(False, True)
"""

from __future__ import annotations

from ftjax.errors import UserError, check_name, did_you_mean
from ftjax.evaluation.metric import Metric
from ftjax.tasks.registry import OF_NO_TASK, own_metrics, task_of, tasks


def known_metrics() -> dict[str, Metric]:
    """All metrics by name. The same name means the same in every task."""
    every = [metric for task in tasks().values() for metric in task.metrics]
    own = [part.details for part in own_metrics().values()]
    return {metric.name: metric for metric in (*own, *every, *OF_NO_TASK)}


def metric_of(metric: str | Metric, what: str = 'metric') -> Metric:
    """A known metric by name; a `Metric` is given back as it is.

    Args:
      metric: the name.
      what: words for the error: which setting named it.

    Raises:
      UserError: no task has a metric of that name; the nearest are named.
    """
    if isinstance(metric, Metric):
        return metric
    known = known_metrics()
    if not isinstance(metric, str):
        raise UserError(f'{what} {metric!r} is no name of a metric; known: {", ".join(known)}')
    return known[check_name(metric, known, what)]


def as_metric(metric: str | Metric) -> Metric:
    """As `metric_of`; a name that no task knows stands for itself, without a known direction.

    For looking up and writing numbers, never for comparing them.
    """
    if isinstance(metric, Metric):
        return metric
    return known_metrics().get(metric) or Metric(name=metric)


def check_metric(name: str, task: str, outputs: int = 0, what: str = 'metric') -> Metric:
    """The metric of a task by name.

    Args:
      name: of the metric, or another name of it (`loss`).
      task: its name.
      outputs: numbers that the network gives for an example; 0 where that is not known.
      what: words for the error: which setting named it.

    Raises:
      UserError: the task has no such metric, and those it has are named; or it is undefined for
        so many outputs.
    """
    known, found = task_of(task), task_of(task).metric(name)
    if found is None:
        names = [metric.name for metric in known.metrics]
        near = did_you_mean(name, names)
        more = '' if near.startswith('known') else f' (all: {", ".join(sorted(names))})'
        raise UserError(f'{what} {name!r} is none of a task of {task}; {near}{more}')
    reason = known.obstacle(found.name, outputs) if outputs else ''
    if reason:
        raise UserError(f'{what} {name!r} is undefined {reason}')
    return metric_of(name)
