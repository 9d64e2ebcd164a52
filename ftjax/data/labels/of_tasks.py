"""Which kind of labels each task has.

A task says its kind when it is registered (ftjax/tasks), so that nothing here knows tasks by name.
"""

from __future__ import annotations

from ftjax.data.labels.label_kind import LabelKind
from ftjax.data.labels.unlabelled import Unlabelled
from ftjax.registry import find

DEFAULT_TASK = 'classification'
"""The task of data of which nothing else is said."""
NO_TASK = ''
"""The task of a `Dataset` without labels; no config names it."""
_UNLABELLED = Unlabelled()


def labels_of(task: str, what: str = 'data.task') -> LabelKind:
    """The kind of labels of a task.

    Raises:
      UserError: there is no such task; the nearest name is said.

    >>> labels_of('regression').outputs(())
    1
    """
    if task == NO_TASK:
        return _UNLABELLED
    return find('task', task, what).details.labels
