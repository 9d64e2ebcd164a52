"""Kinds of labels, and which kind each task has."""

from ftjax.data.labels.label_kind import LabelKind
from ftjax.data.labels.of_tasks import DEFAULT_TASK, NO_TASK, labels_of

__all__ = ['DEFAULT_TASK', 'NO_TASK', 'LabelKind', 'labels_of']
