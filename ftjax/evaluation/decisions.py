"""From logits to probabilities and decisions: what evaluation, prediction and a server share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.predictions import softmax

Threshold = float | Sequence[float]
"""Of two classes one number, of several labels one each."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 of labels that do not exclude one another, without overflow."""
    return np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))


def over(probabilities: np.ndarray, threshold: Threshold) -> np.ndarray:
    """(n, labels) bool: which labels are answered, at one threshold or at one each.

    Raises:
      UserError: as many thresholds as there are labels were expected.
    """
    bounds = np.asarray(threshold, np.float64)
    if bounds.ndim and len(bounds) != probabilities.shape[1]:
        labels = probabilities.shape[1]
        raise UserError(f'{len(bounds)} decision thresholds for {labels} labels; expected one each')
    return probabilities >= bounds


def one_class(
    outputs: np.ndarray,
    temperature: float = 1.0,
    threshold: Threshold | None = None,
    before_temperature: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(the class answered (n,) bool (n, classes) at one place a row, probabilities).

    Args:
      outputs: logits (n, classes).
      temperature: logits are divided by it.
      threshold: probability from which the second of two classes is answered; None for the
        class of the highest logit.
      before_temperature: whether the threshold is of probabilities at temperature 1.

    Raises:
      UserError: a threshold for other than two classes.
    """
    logits = outputs.astype(np.float64)
    probabilities = softmax(logits / temperature)
    best = outputs.argmax(axis=1)
    if threshold is not None:
        if outputs.shape[1] != 2:
            raise UserError(f'a threshold needs two classes; the network has {outputs.shape[1]}')
        own = softmax(logits) if before_temperature else probabilities
        best = (own[:, 1] >= threshold).astype(np.int64)
    return np.arange(outputs.shape[1]) == best[:, None], probabilities


def several_labels(
    outputs: np.ndarray,
    temperature: float = 1.0,
    threshold: Threshold | None = None,
    before_temperature: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(which labels are answered: bool (n, labels), probabilities); arguments as of `one_class`.

    Without a threshold a label is answered where its logit is above 0.
    """
    logits = outputs.astype(np.float64) / temperature
    probabilities = sigmoid(logits)
    answered = logits > 0  # as the metrics have it
    if threshold is not None:
        own = sigmoid(outputs) if before_temperature else probabilities
        answered = over(own, threshold)
    return answered, probabilities


DECISIONS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    'softmax': one_class,
    'sigmoid': several_labels,
}
"""By `Task.activation`; a task of none gives its outputs as they are."""
