"""Tasks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ftjax.data.labels import DEFAULT_TASK, set_labels
from ftjax.errors import check_name
from ftjax.tasks.task import Task

T = TypeVar('T', bound=type[Task])
TASKS: dict[str, Task] = {}
"""Name to the task."""


def task(name: str) -> Callable[[T], T]:
    """Registers the decorated class as a task.

    >>> from ftjax.tasks.classification import Classification
    >>> @task('sorting')
    ... class Sorting(Classification):
    ...     '''Classes, with a loss of our own.'''
    >>> task_of('sorting').labels.one_class
    True
    >>> del TASKS['sorting']
    """

    def register(made: T) -> T:
        made.name = name
        TASKS[name] = made()
        set_labels(name, made.labels)
        return made

    return register


def task_of(name: str = DEFAULT_TASK) -> Task:
    """The task of this name.

    Raises:
      UserError: there is none; the nearest name is said.
    """
    return TASKS[check_name(name, TASKS, 'task')]
