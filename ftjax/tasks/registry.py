"""Tasks, losses and metrics by name: the shipped ones, and those of a user's config file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ftjax import registry
from ftjax.data.labels import DEFAULT_TASK
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric, error
from ftjax.ranges import Range
from ftjax.registry import Part, Term
from ftjax.tasks.task import Task

T = TypeVar('T', bound=type[Task])
# `loss` means the loss of whatever the task is: the names under which it may stand are all.
OF_NO_TASK = (error('loss', also=('log_loss', 'mse')), error('error'))


def task(name: str) -> Callable[[T], T]:
    """Registers the decorated class as a task.

    >>> from ftjax.tasks.classification import Classification
    >>> @task('sorting')
    ... class Sorting(Classification):
    ...     '''Classes, with a loss of our own.'''
    >>> task_of('sorting').labels.one_class
    True
    >>> _ = registry.PARTS['task'].pop('sorting')
    """

    def register(made: T) -> T:
        made.name = name
        registry.register('task', name, details=made())(made)
        return made

    return register


def task_of(name: str = DEFAULT_TASK) -> Task:
    """The task of this name.

    Raises:
      UserError: there is none; the nearest name is said.
    """
    return registry.find('task', name).details


def tasks() -> dict[str, Task]:
    """All tasks by name."""
    return {name: part.details for name, part in registry.parts('task').items()}


@dataclasses.dataclass(frozen=True)
class Loss:
    """The `details` of a loss: the tasks that it is for; () for all."""

    tasks: tuple[str, ...] = ()
    counts: bool = False
    """Whether it is called with `class_counts`, the training examples of each class."""
    columns: tuple[str, ...] = ()
    """Registered columns that it finds in `batch['columns']`."""
    instead: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of tasks that it is not for, why, and what there is in its place."""


def loss(
    name: str,
    *tasks: str,
    source: str = '',
    ranges: Mapping[str, Range] | None = None,
    counts: bool = False,
    columns: Sequence[str] = (),
    instead: Mapping[str, str] | None = None,
) -> Callable[[Any], Any]:
    """Registers `(outputs, batch, **arguments) -> losses` as a loss of some tasks, or of all.

    The losses are float32 in the shape of the task's weights, (B,) where a batch has B examples;
    the batch holds 'inputs', 'labels' and 'mask'. It is traced into the step. With `counts` it is
    called with `class_counts` too, the training examples of each class. With `columns`, names of
    registered columns, `batch['columns']` holds these by name, float32 (B, ..): numbers of each
    example that are made once, before the run. `instead` says by task, of those that it is not
    for, why that is and what there is in its place.
    """
    details = Loss(tasks, counts, tuple(columns), dict(instead or {}))
    return registry.register('loss', name, source=source, ranges=ranges, details=details)


def loss_of(text: str, task: str) -> Term | None:
    """The loss that `train.loss` names; None where it is empty: the task's own.

    Raises:
      UserError: an unknown loss or argument, or a loss that is not for the task.
    """
    if not text:
        return None
    term = registry.parse('loss', text, 'train.loss')
    details = term.details or Loss()
    known, why = details.tasks, details.instead.get(task)
    if known and task not in known:
        more = f': {why}' if why else ''
        raise UserError(f'train.loss {text!r} is for {" or ".join(known)}, not for {task}{more}')
    return term


def columns_of(loss: Term | None) -> tuple[str, ...]:
    """The columns that a loss finds in its batches; () of the task's own."""
    return () if loss is None or loss.details is None else loss.details.columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnMetric(Metric):
    """The `details` of a registered metric."""

    tasks: tuple[str, ...] = ()
    """The tasks that it is for; () for all whose unit is an example."""

    def fits(self, task: str) -> bool:
        """Whether it is for a task."""
        return not self.tasks or task in self.tasks


def metric(
    name: str,
    *tasks: str,
    higher_is_better: bool = True,
    label: str = '',
    bounds: tuple[float | None, float | None] = (None, None),
    percent: bool = False,
) -> Callable[[Any], Any]:
    """Registers `(outputs, labels) -> float` as a metric of some tasks, or of all.

    Of all whose unit is an example: there it is computed wherever a split is measured, and None
    with a warning where it fails, unless a config names it.

    Args:
      name: as `train.metric` and `ablation.metric` name it.
      *tasks: those that it is for.
      higher_is_better, label, bounds, percent: as of `Metric`.

    Outputs are float32 (examples, outputs) of a whole split, and labels as the task has them.

    Raises:
      UserError: a shipped metric has the name.
    """
    known = OwnMetric(
        name=name,
        tasks=tasks,
        higher_is_better=higher_is_better,
        label=label,
        bounds=bounds,
        percent=percent,
    )
    if name in shipped_metrics():
        raise UserError(f'metric {name!r} is one of ftjax; choose another name')
    return registry.register('metric', name, details=known)


def shipped_metrics() -> dict[str, Metric]:
    """The metrics of tasks, by each of their names."""
    every = [each for one in registry.parts('task').values() for each in one.details.metrics]
    return {name: each for each in (*every, *OF_NO_TASK) for name in each.names}


def own_metrics() -> Mapping[str, Part]:
    """The metrics that were registered beside those of the tasks."""
    return registry.parts('metric')
