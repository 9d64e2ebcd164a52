"""Error analysis: which examples a network gets wrong, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.predictions import (
    check_class_names,
    check_classification,
    check_finite,
    softmax,
)


def confident_mistakes(
    logits: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str] | None = None,
    limit: int = 20,
) -> list[dict[str, Any]]:
    """The wrong answers given with most confidence: often wrong labels, or real surprises.

    Args:
      logits: float (n, classes).
      labels: int (n,).
      ids: stable name of each example, n of them.
      class_names: one a class; the indices when left out.
      limit: how many at most.

    Returns:
      Dicts, most confident first: `id`, `position` (in the arrays), `label`, `predicted`
      (names), `confidence` (probability of the predicted class), `label_probability`.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    check_classification(logits, labels)
    check_finite(logits)
    if len(ids) != len(labels):
        raise UserError(f'{len(ids)} example ids for {len(labels)} labels')
    names = check_class_names(class_names, logits.shape[1])
    probabilities, rows = softmax(logits), np.arange(len(labels))
    predicted = logits.argmax(axis=1)
    both = probabilities[rows, predicted], probabilities[rows, labels]
    return confident_answers(labels, predicted, *both, ids, names, limit)


def confident_answers(
    labels: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    label_probability: np.ndarray,
    ids: Sequence[str],
    names: Sequence[str],
    limit: int = 20,
) -> list[dict[str, Any]]:
    """As `confident_mistakes`, from classes and answers (n,) and the probability of both."""
    wrong = np.flatnonzero(predicted != labels)
    return [
        {
            'id': str(ids[i]),
            'position': int(i),
            'label': names[labels[i]],
            'predicted': names[predicted[i]],
            'confidence': float(confidence[i]),
            'label_probability': float(label_probability[i]),
        }
        for i in largest(confidence, limit, wrong)
    ]


def largest(values: np.ndarray, limit: int, among: np.ndarray | None = None) -> np.ndarray:
    """Positions of the largest values (n,), largest first; ties keep the order of the split.

    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    among = np.arange(len(values)) if among is None else among
    # A stable sort, so that ties are the same on every machine.
    return among[np.argsort(-values[among], kind='stable')][:limit]


def largest_errors(
    predictions: np.ndarray, targets: np.ndarray, ids: Sequence[str], limit: int = 20
) -> list[dict[str, Any]]:
    """The examples that a regression misses by most, worst first.

    Returns:
      Dicts: `id`, `position` (in the arrays), `target`, `predicted`, `error` (signed).
    """
    predictions = np.asarray(predictions, np.float64).reshape(-1)
    targets = np.asarray(targets, np.float64).reshape(-1)
    if not len(ids) == len(targets) == len(predictions):
        raise UserError(
            f'{len(ids)} example ids, {len(predictions)} predictions, {len(targets)} targets'
        )
    errors = predictions - targets
    return [
        {
            'id': str(ids[i]),
            'position': int(i),
            'target': float(targets[i]),
            'predicted': float(predictions[i]),
            'error': float(errors[i]),
        }
        for i in largest(np.abs(errors), limit)
    ]


def confused_pairs(metrics: dict[str, Any], limit: int = 10) -> list[dict[str, Any]]:
    """The most frequent confusions in `classification_metrics`, most frequent first.

    Returns:
      Dicts: `label`, `predicted` (names), `count`, `share` of the label's examples.
    """
    matrix = np.asarray(metrics['confusion_matrix'])
    names = [row['name'] for row in metrics['per_class']]
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind='stable')[:limit]
    pairs = []
    for true, predicted in zip(*np.unravel_index(order, errors.shape), strict=True):
        if errors[true, predicted]:
            count = int(errors[true, predicted])
            pairs.append(
                {
                    'label': names[true],
                    'predicted': names[predicted],
                    'count': count,
                    'share': count / int(matrix[true].sum()),
                }
            )
    return pairs
