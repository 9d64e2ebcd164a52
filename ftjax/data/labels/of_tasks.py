"""Which kind of labels each task has.

A task says its kind when it is registered (ftjax/tasks), so that nothing here knows tasks by name.
"""

from __future__ import annotations

import importlib

from ftjax.data.labels.label_kind import LabelKind
from ftjax.errors import check_name

DEFAULT_TASK = 'classification'
"""The task of data of which nothing else is said."""
_SHIPPED = 'ftjax.tasks'  # registers the tasks that come with ftjax as it is imported
_OF_TASK: dict[str, LabelKind] = {}


def set_labels(task: str, kind: LabelKind) -> None:
    """Says which labels a task has; called as the task is registered."""
    _OF_TASK[task] = kind


def labels_of(task: str, what: str = 'data.task') -> LabelKind:
    """The kind of labels of a task.

    Raises:
      UserError: there is no such task; the nearest name is said.

    >>> labels_of('regression').outputs(())
    1
    """
    importlib.import_module(_SHIPPED)
    return _OF_TASK[check_name(task, _OF_TASK, what)]
