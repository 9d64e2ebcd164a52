"""Error analysis: which examples a network gets wrong, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.metric import MetricValues


def confident_answers(
    labels: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    label_probability: np.ndarray,
    ids: Sequence[str],
    names: Sequence[str],
    limit: int = 20,
) -> list[dict[str, object]]:
    """The wrong answers given with most confidence: often wrong labels, or real surprises.

    Args:
      labels: int (n,).
      predicted: classes, int (n,).
      confidence: probability of the predicted class (n,).
      label_probability: that of the label's class (n,).
      ids: stable name of each example, n of them.
      names: one a class.
      limit: how many at most.

    Returns:
      Dicts, most confident first: `id`, `position` (in the arrays), `label`, `predicted`
      (names), `confidence`, `label_probability`.
    """
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
) -> list[dict[str, object]]:
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


def confused_pairs(metrics: MetricValues, limit: int = 10) -> list[dict[str, object]]:
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
