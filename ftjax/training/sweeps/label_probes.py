"""Linear models on stored features for any kind of labels, over a path of penalties.

Classes: multinomial logistic regression. Several labels an example: a logistic regression each.
Values: ridge regression. Features are standardised, biases are not penalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.data.labels import LabelKind
from ftjax.errors import UserError
from ftjax.training.sweeps.linear_probe import PATH, checked, fit_probe


def probe_outputs(
    kind: LabelKind,
    train: np.ndarray,
    labels: np.ndarray,
    outputs: int,
    others: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Fits on training features; what each penalty's model gives on others.

    Args:
      kind: of the labels.
      train: features (examples, width).
      labels: of these, as a data set holds them.
      outputs: numbers that a head gives.
      others: features (n, width) of further examples.

    Returns:
      For each of `others`, float64 (penalties, n, outputs): the strongest penalty first.

    Raises:
      UserError: labels that no linear model has.
    """
    if kind.one_class:
        probe = fit_probe(train, labels, outputs)
        return [probe.logits(x).astype(np.float64) for x in others]
    if kind.named and labels.ndim == 2:
        probes = [fit_probe(train, labels[:, c].astype(np.int64), 2) for c in range(outputs)]
        several = [[np.diff(probe.logits(x))[..., 0] for probe in probes] for x in others]
        return [np.stack(each, axis=-1).astype(np.float64) for each in several]
    if kind.from_inputs or labels.ndim != 1:
        raise UserError('a linear probe needs a label for each example: classes, or a number')
    return _ridge(train, labels, others)


def target_columns(kind: LabelKind, labels: np.ndarray, outputs: int) -> np.ndarray:
    """Labels as columns of numbers, float64 (examples, outputs): of classes one-hot."""
    if kind.one_class:
        return np.eye(outputs)[labels]
    return np.asarray(labels, np.float64).reshape(len(labels), -1)


def _ridge(x: np.ndarray, y: np.ndarray, others: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Minimises the squared errors plus the squared norm of the kernel divided by C."""
    x, _, c = checked(x, np.zeros(len(x), int), 1, PATH)
    mean, scale, middle = x.mean(axis=0), x.std(axis=0), float(np.mean(y))
    scale[scale == 0] = 1.0
    left, singular, right = np.linalg.svd((x - mean) / scale, full_matrices=False)
    along = left.T @ (np.asarray(y, np.float64) - middle)
    weights = singular * along / (singular**2 + 1 / c[:, None])
    kernels = weights @ right
    return [(((one - mean) / scale) @ kernels.T + middle).T[..., None] for one in others]
