"""Classification metrics on whole arrays, equal to scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.calibration import expected_calibration_error
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.predictions import check_class_names, check_classification, softmax


def classification_metrics(
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Every classification number that is reported, ready for JSON.

    Averages over classes are scikit-learn's defaults: a class that neither occurs nor is
    predicted is left out of them, and a ratio of 0 to 0 counts as 0.

    Args:
      logits: float (n, classes); scores before the softmax.
      labels: int (n,) in [0, classes).
      class_names: one a class; the indices when left out.
      confidence: probability content of `accuracy_interval`.

    Returns:
      `n`, `accuracy` with `accuracy_interval` (Wilson), `balanced_accuracy`,
      `top5_accuracy` (None below 6 classes), `precision_macro`, `recall_macro`, `f1_macro`
      and the same `_weighted`, `log_loss` (nats), `ece` (15 bins), `brier`, `per_class`
      (name, precision, recall, f1, support) and `confusion_matrix` (rows true, columns
      predicted, examples).

    Raises:
      UserError: shapes disagree, or a label is outside the classes.
      NonFinitePredictions: a logit is NaN or infinite.
    """
    import sklearn.metrics

    # Its type stubs do not take NumPy 2's arrays.
    metrics: Any = sklearn.metrics
    logits, labels = check_classification(logits, labels)
    classes = np.arange(logits.shape[1])
    names = check_class_names(class_names, len(classes))
    probabilities = softmax(logits)
    predicted = logits.argmax(axis=1)
    correct = int((predicted == labels).sum())
    result: dict[str, Any] = {
        'task': 'classification',
        'n': len(labels),
        'accuracy': correct / len(labels),
        'accuracy_interval': list(wilson_interval(correct, len(labels), confidence)),
        'balanced_accuracy': _balanced_accuracy(labels, predicted),
        'top5_accuracy': None,
    }
    if len(classes) > 5:
        result['top5_accuracy'] = float(
            metrics.top_k_accuracy_score(labels, logits, k=5, labels=classes)
        )
    for average in ('macro', 'weighted'):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )
        result[f'precision_{average}'] = float(precision)
        result[f'recall_{average}'] = float(recall)
        result[f'f1_{average}'] = float(f1)
    result['log_loss'] = _log_loss(logits, labels)
    result['ece'] = expected_calibration_error(probabilities, labels)
    result['brier'] = float(((probabilities - np.eye(len(classes))[labels]) ** 2).sum(1).mean())
    rows = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, average=None, zero_division=0
    )
    result['per_class'] = [
        {
            'name': name,
            'precision': float(precision),
            'recall': float(recall),
            'f1': float(f1),
            'support': int(support),
        }
        for name, precision, recall, f1, support in zip(names, *rows, strict=True)
    ]
    matrix = metrics.confusion_matrix(labels, predicted, labels=classes)
    result['confusion_matrix'] = matrix.tolist()
    return result


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    # scikit-learn's warns about classes that are predicted and do not occur; they have no
    # recall, so the mean goes over the classes that occur, as there.
    recalls = [(predicted[labels == label] == label).mean() for label in np.unique(labels)]
    return float(np.mean(recalls))


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    # From logits, not from probabilities: those underflow to 0 and make it infinite.
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_norm = np.log(np.exp(shifted).sum(axis=1))
    return float((log_norm - shifted[np.arange(len(labels)), labels]).mean())
