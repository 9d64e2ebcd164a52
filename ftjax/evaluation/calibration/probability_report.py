"""What is fitted on validation data so that probabilities can be relied on, and what it came to."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.evaluation.calibration.calibration_error import calibration_error
from ftjax.evaluation.calibration.conformal import (
    conformal_quantile,
    nonconformity,
    prediction_sets,
    set_summary,
)
from ftjax.evaluation.calibration.selective import selective_accuracy
from ftjax.evaluation.calibration.temperature import fit_temperature, fit_temperature_binary
from ftjax.evaluation.predictions import softmax
from ftjax.io.json.json_values import JsonObject

COVERAGES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Of the prediction sets whose quantiles are kept."""


def fit_classes(logits: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """From validation logits (n, classes) and int labels (n,): plain JSON.

    `temperature`; `threshold`, of two classes: the probability of the second, after the
    temperature, that gives the best balanced accuracy; `quantiles` of prediction sets by coverage.
    These are of the probabilities before the temperature: nothing that was fitted on the same
    examples may enter them.
    """
    temperature = fit_temperature(logits, labels)
    scores = nonconformity(softmax(logits), labels)
    threshold = None
    if logits.shape[1] == 2 and 0 < labels.sum() < len(labels):
        threshold = balanced_threshold(softmax(logits / temperature)[:, 1], labels == 1)
    return {
        'n': len(labels),
        'temperature': temperature,
        'threshold': threshold,
        'quantiles': {str(c): conformal_quantile(scores, c) for c in COVERAGES},
    }


def fit_several(logits: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """The same where each class is a question of its own: labels (n, classes) of 0 and 1.

    `threshold` is the probability, the same for all classes, with the best micro F1.
    """
    temperature = fit_temperature_binary(logits, labels)
    probabilities = 1 / (1 + np.exp(-np.asarray(logits, np.float64) / temperature))
    return {
        'n': len(labels),
        'temperature': temperature,
        'threshold': f1_threshold(probabilities.ravel(), labels.ravel() > 0),
        'quantiles': {},
    }


def balanced_threshold(probabilities: np.ndarray, positive: np.ndarray) -> float | None:
    """The threshold with the best balanced accuracy; see `_best_cut`."""
    up, down = positive.sum(), (~positive).sum()
    return _best_cut(probabilities, positive, lambda hit, n: hit / up + (down - n + hit) / down)


def f1_threshold(probabilities: np.ndarray, positive: np.ndarray) -> float | None:
    """The threshold with the best F1; see `_best_cut`."""
    up = positive.sum()
    return _best_cut(probabilities, positive, lambda hit, n: 2 * hit / np.maximum(n + up, 1))


def _best_cut(probabilities: np.ndarray, positive: np.ndarray, score: Any) -> float | None:
    """Half way between two neighbouring probabilities, where the score is best; None for no cut.

    `score` takes the hits among the n highest, and n. Of equally good cuts it is the one nearest to
    1/2.
    """
    order = np.argsort(-probabilities, kind='stable')
    sorted_, hits = probabilities[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.diff(sorted_) < 0)  # a cut may not part equal probabilities
    if not len(ends):
        return None
    cuts = (sorted_[ends] + sorted_[ends + 1]) / 2
    scores = score(hits[ends].astype(np.float64), ends + 1.0)
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def class_report(
    logits: np.ndarray,
    labels: np.ndarray,
    fitted: JsonObject | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, object]:
    """How far probabilities can be relied on, on other examples than were fitted on.

    `plain`, and `calibrated` where a temperature was fitted: the calibration error in bins of
    equally many examples with its interval and bias, `brier` and `log_loss`; `selective`:
    accuracy where the least sure are withheld; `sets`: how often prediction sets hold the class.
    Intervals are over examples, or over groups (n,) of them.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    plain = softmax(logits)
    report: dict[str, object] = {'plain': _numbers(logits, labels, groups)}
    best = plain
    if fitted:
        report['temperature'] = fitted['temperature']
        report['calibrated'] = _numbers(logits / fitted['temperature'], labels, groups)
        best = softmax(logits / fitted['temperature'])
        report['sets'] = {
            coverage: set_summary(prediction_sets(plain, quantile), labels)
            for coverage, quantile in fitted['quantiles'].items()
        }
    right = best.argmax(axis=1) == labels
    return {**report, 'selective': selective_accuracy(best.max(axis=1), right)}


def _numbers(
    logits: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> dict[str, object]:
    probabilities, rows = softmax(logits), np.arange(len(labels))
    # The squared distance to the label's corner, without an array of corners.
    brier = (probabilities**2).sum(axis=1) - 2 * probabilities[rows, labels] + 1
    shifted = logits - logits.max(axis=1, keepdims=True)
    nats = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, labels]
    right = probabilities.argmax(axis=1) == labels
    return {
        **calibration_error(probabilities.max(axis=1), right, groups=groups),
        'brier': float(brier.mean()),
        'log_loss': float(nats.mean()),
    }
