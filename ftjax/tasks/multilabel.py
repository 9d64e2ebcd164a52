"""Metrics of several labels an example, on whole arrays, equal to scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.predictions import check_class_names, check_finite


def multilabel_metrics(
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Every multi-label number that is reported, ready for JSON.

    A label is predicted where its logit is above 0 (probability 1/2). A ratio of 0 to 0 counts
    as 0, as in scikit-learn. Average precision needs no threshold; the macro average goes over
    the classes that occur, because without a positive it is undefined.

    Args:
      logits: float (n, classes); scores before the sigmoid.
      labels: (n, classes) of 0 and 1.
      class_names: one a class; the indices when left out.
      confidence: probability content of the intervals.

    Returns:
      `n`; `precision`, `recall`, `f1` and `average_precision`, each `_micro` and `_macro`;
      `f1_micro_interval` (bootstrap over examples); `exact_match` (all labels of an example
      right) with `exact_match_interval` (Wilson); `hamming_loss`, `log_loss` (nats, mean over
      examples and classes) and `per_class` (name, precision, recall, f1, average_precision or
      None, support).

    Raises:
      UserError: shapes disagree, or a label is neither 0 nor 1.
      NonFinitePredictions: a logit is NaN or infinite.

    >>> found = multilabel_metrics(np.array([[2.0, -1.0], [1.0, 3.0]]), np.array([[1, 0], [0, 1]]))
    >>> found['f1_micro'], found['exact_match']
    (0.8, 0.5)
    """
    import sklearn.metrics

    # Its type stubs do not take NumPy 2's arrays.
    metrics: Any = sklearn.metrics
    logits, true = _checked(logits, labels)
    names = check_class_names(class_names, true.shape[1])
    found = (logits > 0).astype(np.int64)
    right = int((found == true).all(axis=1).sum())
    result: dict[str, Any] = {'task': 'multilabel', 'n': len(true)}
    for average in ('micro', 'macro'):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            true, found, average=average, zero_division=0
        )
        result[f'precision_{average}'] = float(precision)
        result[f'recall_{average}'] = float(recall)
        result[f'f1_{average}'] = float(f1)
    result['f1_micro_interval'] = _f1_interval(found, true, confidence)
    occur = true.sum(axis=0) > 0
    each = [
        float(metrics.average_precision_score(true[:, c], logits[:, c])) if occur[c] else None
        for c in range(len(names))
    ]
    known = [value for value in each if value is not None]
    result['average_precision_micro'] = (
        float(metrics.average_precision_score(true, logits, average='micro')) if known else None
    )
    result['average_precision_macro'] = float(np.mean(known)) if known else None
    result['exact_match'] = right / len(true)
    result['exact_match_interval'] = list(wilson_interval(right, len(true), confidence))
    result['hamming_loss'] = float((found != true).mean())
    # log(1 + exp(-z)) for a 1 and log(1 + exp(z)) for a 0, without overflow.
    result['log_loss'] = float(np.logaddexp(0, np.where(true == 1, -logits, logits)).mean())
    rows = metrics.precision_recall_fscore_support(true, found, average=None, zero_division=0)
    result['per_class'] = [
        {
            'name': name,
            'precision': float(precision),
            'recall': float(recall),
            'f1': float(f1),
            'average_precision': value,
            'support': int(support),
        }
        for name, value, precision, recall, f1, support in zip(names, each, *rows, strict=True)
    ]
    return result


def _checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape:
        raise UserError(
            f'labels have shape {labels.shape} beside logits of {logits.shape}; expected '
            '(examples, classes) for both'
        )
    if not len(labels):
        raise UserError('nothing to evaluate: the split holds no examples')
    if logits.shape[1] < 2:
        raise UserError('several labels an example need 2 classes or more')
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError('labels of several classes an example must be 0 or 1')
    check_finite(logits)
    return logits, labels.astype(np.int64)


def _f1_interval(
    found: np.ndarray, true: np.ndarray, confidence: float, resamples: int = 2000
) -> list[float] | None:
    """Percentile bootstrap interval of the micro F1 over examples; None below two of them."""
    if len(true) < 2:
        return None
    counts = np.stack([(found & true).sum(axis=1), found.sum(axis=1) + true.sum(axis=1)], axis=1)
    rng, values = np.random.default_rng(0), np.zeros(resamples)
    for index in range(resamples):
        hits, marks = counts[rng.integers(0, len(counts), len(counts))].sum(axis=0)
        values[index] = 2 * hits / marks if marks else 0.0
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return [float(low), float(high)]
