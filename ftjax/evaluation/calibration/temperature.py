"""Temperature scaling: one number that makes probabilities mean what they say.

Source: Guo et al. (2017), On calibration of modern neural networks, arXiv 1706.04599.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.predictions import check_classification, check_finite

LIMITS = (0.01, 100.0)
"""Temperatures that are looked at: where all answers are right, ever lower ones are better."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of lowest log loss: logits / temperature, (n, classes) and int (n,).

    To be fitted on examples that were not trained on. It changes no answer.

    >>> round(fit_temperature(np.array([[2.0, 0.0]] * 4), np.array([0, 0, 0, 1])), 4)
    1.8205
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    check_classification(logits, labels)
    check_finite(logits)
    own = logits[np.arange(len(labels)), labels]

    def loss(scale: float) -> float:
        scaled = logits * scale
        highest = scaled.max(axis=1)
        total = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        return float((total - own * scale).mean())

    return _best(loss)


def fit_temperature_binary(logits: np.ndarray, labels: np.ndarray) -> float:
    """As `fit_temperature`, where each of several classes is a question of its own.

    Args:
      logits: (n, classes).
      labels: 0 or 1, (n, classes).
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.shape != labels.shape or not logits.size:
        raise UserError(f'logits are {logits.shape} and labels {labels.shape}; expected equal ones')
    check_finite(logits)
    signed = np.where(labels > 0, -logits, logits)
    return _best(lambda scale: float(np.logaddexp(0, signed * scale).mean()))


def _best(loss: Callable[[float], float]) -> float:
    """1 over the best scale: the loss is convex in it, so that it has one minimum."""
    from scipy import optimize

    low, high = np.log(LIMITS)
    found = optimize.minimize_scalar(
        lambda log: loss(float(np.exp(-log))),
        bounds=(low, high),
        method='bounded',
        options={'xatol': 1e-7},
    )
    return float(np.exp(found.x))
