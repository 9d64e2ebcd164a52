"""Metrics on whole arrays, calibration and error analysis.

>>> import numpy as np
>>> logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
>>> evaluate(logits, np.array([0, 1, 1]))['accuracy']
0.6666666666666666
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.metrics_text import metrics_text
from ftjax.evaluation.predictions import NonFinitePredictions, Predictions, gather
from ftjax.tasks.classification import classification_metrics
from ftjax.tasks.multilabel import multilabel_metrics
from ftjax.tasks.regression import regression_metrics

__all__ = [
    'NonFinitePredictions',
    'Predictions',
    'classification_metrics',
    'evaluate',
    'gather',
    'metrics_text',
    'multilabel_metrics',
    'regression_metrics',
]


def evaluate(
    outputs: np.ndarray,
    labels: np.ndarray,
    *,
    task: str = 'classification',
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Metrics of the outputs by the task's name; see the three functions for what they hold."""
    if task == 'multilabel':
        return multilabel_metrics(outputs, labels, class_names)
    if task == 'regression':
        return regression_metrics(outputs, labels)
    return classification_metrics(outputs, labels, class_names)
