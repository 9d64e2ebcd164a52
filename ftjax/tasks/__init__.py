"""Tasks: how labels are read, the loss, the metrics, and what of them people are shown.

>>> import numpy as np
>>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
>>> evaluate(logits, np.array([0, 1, 1]))['accuracy']
0.6666666666666666
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.late_names import late_names
from ftjax.tasks.registry import DEFAULT_TASK, loss, metric, task, task_of, tasks
from ftjax.tasks.task import LossOptions, Task
from ftjax.tasks.task_places import PLACES

if TYPE_CHECKING:
    from ftjax.tasks.causal_lm import CausalLM
    from ftjax.tasks.classification import Classification
    from ftjax.tasks.embedding import Embedding
    from ftjax.tasks.masked_features import MaskedFeatures
    from ftjax.tasks.masked_tokens import MaskedTokens
    from ftjax.tasks.multilabel import Multilabel
    from ftjax.tasks.multiple_choice import MultipleChoice
    from ftjax.tasks.regression import Regression
    from ftjax.tasks.segmentation import Segmentation
    from ftjax.tasks.text_ranking import TextRanking
    from ftjax.tasks.text_similarity import TextSimilarity
    from ftjax.tasks.token_classification import TokenClassification

__all__ = [
    'DEFAULT_TASK',
    'CausalLM',
    'Classification',
    'Embedding',
    'LossOptions',
    'MaskedFeatures',
    'MaskedTokens',
    'Multilabel',
    'MultipleChoice',
    'Regression',
    'Segmentation',
    'Task',
    'TextRanking',
    'TextSimilarity',
    'TokenClassification',
    'evaluate',
    'loss',
    'metric',
    'task',
    'task_of',
    'tasks',
]

# A run has one task: the others, and what they bring along, are imported where they are named.
__getattr__ = late_names(
    __name__,
    {
        'CausalLM': PLACES['causal_lm'],
        'Classification': PLACES['classification'],
        'Embedding': PLACES['embedding'],
        'MaskedFeatures': PLACES['masked_features'],
        'MaskedTokens': PLACES['masked_tokens'],
        'Multilabel': PLACES['multilabel'],
        'MultipleChoice': PLACES['multiple_choice'],
        'Regression': PLACES['regression'],
        'Segmentation': PLACES['segmentation'],
        'TextRanking': PLACES['text_ranking'],
        'TextSimilarity': PLACES['text_similarity'],
        'TokenClassification': PLACES['token_classification'],
    },
)


def evaluate(
    outputs: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    task: str = DEFAULT_TASK,
) -> MetricValues:
    """All metrics of outputs (n, ..) for labels (n, ..): see `values` of the task."""
    return task_of(task).measure([(outputs, {'labels': np.asarray(labels)})], class_names)
