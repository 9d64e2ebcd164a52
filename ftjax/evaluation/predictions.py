"""What a network answered on a split: gathered from batches, checked, turned to probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ftjax.errors import UserError


class NonFinitePredictions(UserError):
    """The network's outputs hold NaN or infinities: the run that made it diverged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """Outputs of a network on every example of a split, in the order of the split.

    Attributes:
      outputs: float32 logits (n, classes), or predicted values (n,) or (n, 1).
      labels: int32 class indices (n,), float32 targets (n,), or float32 (n, classes) of 0 and 1.
      index: int32 position of each example in its split (n,).
    """

    outputs: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def gather(pairs: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> Predictions:
    """Joins (outputs, batch) pairs, leaving out the padding (`batch['mask']` is 0).

    Batches of texts come by length: their 'index' puts the examples in the split's order.
    Metrics are then computed once on whole arrays: averages over batches would weigh a
    short last batch like a full one.

    Args:
      pairs: outputs (B, ...) with the batch they came from; a batch holds 'labels' and,
        where it is padded, 'mask'; 'index' is counted up when absent. Where the mask has axes
        beyond the examples, outputs and labels become object arrays of those that it names.
    """
    outputs, labels, index = [], [], []
    seen = 0
    for output, batch in pairs:
        mask = np.asarray(batch.get('mask', np.ones(len(batch['labels'])))) > 0
        real = np.asarray(mask.reshape(len(mask), -1).any(axis=1))
        # bfloat16 outputs become float32 here: scikit-learn does not know them.
        given = np.asarray(output).astype(np.float32)
        pair = given, np.asarray(batch['labels'])
        if given.ndim > mask.ndim > 1:
            pair = tuple(_asked(each, mask) for each in pair)
        outputs.append(pair[0][real])
        labels.append(pair[1][real])
        index.append(np.asarray(batch.get('index', seen + np.arange(len(real))))[real])
        seen += len(real)
    if not seen:
        raise UserError('nothing to evaluate: the split holds no examples')
    where = np.concatenate(index).astype(np.int32)
    order = np.argsort(where, kind='stable')
    return Predictions(
        outputs=np.concatenate(outputs)[order],
        labels=np.concatenate(labels)[order],
        index=where[order],
    )


def _asked(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Of each example the values where it is asked: an object array of (places, ..) arrays."""
    found = np.empty(len(values), object)
    for row, (each, where) in enumerate(zip(values, mask, strict=True)):
        found[row] = each[where]
    return found


def check_finite(outputs: np.ndarray) -> None:
    """Raises NonFinitePredictions, with the count, unless every output is a number."""
    refuse_non_finite(finite_rows(outputs))


def finite_rows(outputs: np.ndarray) -> np.ndarray:
    """Which rows hold numbers alone: bool (n,)."""
    if outputs.dtype == object:
        return np.array([np.isfinite(row).all() for row in outputs], bool)
    return np.asarray(np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim))))


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
