"""What a network answered on a split: checked, turned to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError


class NonFinitePredictions(UserError):
    """The network's outputs hold NaN or infinities: the run that made it diverged."""


def check_finite(outputs: np.ndarray) -> None:
    """Raises NonFinitePredictions, with the count, unless every output is a number."""
    refuse_non_finite(finite_rows(outputs))


def finite_rows(outputs: np.ndarray) -> np.ndarray:
    """Which rows hold numbers alone: bool (n,)."""
    return np.asarray(np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1))


def refuse_non_finite(finite: np.ndarray) -> None:
    """Raises NonFinitePredictions, with the count, unless all of the rows are finite."""
    bad = int((~finite).sum())
    if bad:
        raise NonFinitePredictions(
            f'{bad} of {len(finite)} predictions are NaN or infinite: the run diverged; '
            'lower the learning rate or clip gradients'
        )


def check_classification(
    logits: np.ndarray, labels: np.ndarray, index: np.ndarray | None = None
) -> None:
    """UserError unless logits are (n, classes) and labels (n,) are such classes.

    `index` (n,) says which examples they are of, for the message.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise UserError(f'logits need shape (examples, classes >= 2), not {logits.shape}')
    if labels.shape != (len(logits),):
        raise UserError(f'labels have shape {labels.shape} beside logits of {logits.shape}')
    if not len(labels):
        raise UserError('nothing to evaluate: the split holds no examples')
    if labels.dtype.kind not in 'iu':
        raise UserError(f'class labels must be integers, not {labels.dtype}')
    outside = (labels < 0) | (labels >= logits.shape[1])
    if outside.any():
        first = int(np.argmax(outside))
        number = first if index is None else int(index[first])
        raise UserError(
            f'label {int(labels[first])} of example {number} is outside '
            f'0..{logits.shape[1] - 1}: the network has {logits.shape[1]} classes'
        )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) in float64; their rows sum to 1."""
    logits = np.asarray(logits, np.float64)
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def check_class_names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """The names, or the indices as names; UserError where their number is not `classes`."""
    if class_names is None or not len(class_names):
        return tuple(str(index) for index in range(classes))
    if len(class_names) != classes:
        raise UserError(f'{len(class_names)} class names for a network of {classes} classes')
    return tuple(str(name) for name in class_names)
