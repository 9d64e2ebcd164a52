"""LogME: how well a linear model explains labels by features, without fitting one by descent.

The labels of one output are y = F w + noise, w normal with precision a, the noise with precision b:
their evidence p(y | F) is that of a normal distribution with covariance I / b + F F' / a. LogME is
its logarithm at the best a and b, divided by the number of examples. Higher is better; it is
compared between networks on the same examples, and has no other unit than nats an example.

Source: You et al. 2021, arXiv:2102.11005. They climb by a fixed point; here, for a given ratio
a / b, the best b is known in closed form, so that one number is searched for.
"""

from __future__ import annotations

import numpy as np

from ftjax.errors import UserError

RATIOS = np.linspace(-30.0, 30.0, 241)
"""Logarithms of a / b that are tried, from the mean square of the features' singular values."""
_GOLDEN = (np.sqrt(5.0) - 1) / 2
_RANK = 1e-11
"""Squared singular value, over the largest, below which a direction counts as none."""
_ROUNDING = 1e-14
"""Share of the labels' square that counts as nothing left to explain."""


def log_evidence(features: np.ndarray, targets: np.ndarray) -> float:
    """LogME of features for targets: the mean over columns of targets that are not all 0.

    Args:
      features: (examples, width), as they are given to a head; no bias is added.
      targets: (examples, outputs): of classes their one-hot codes, or values.

    Raises:
      UserError: of other shapes, no numbers, or no target but 0.

    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    >>> y = x @ np.array([[1.0], [2.0]]) + np.array([[0.1], [-0.1], [0.1], [0.1]])
    >>> round(log_evidence(x, y), 4)
    -0.5006
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise UserError(
            f'evidence needs features (examples, width) and targets (examples, outputs), not '
            f'{x.shape} and {y.shape}'
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError('evidence needs numbers; some are NaN or infinite')
    y = y[:, (y != 0).any(axis=0)]  # a class without an example says nothing
    if not y.shape[1] or not x.any():
        raise UserError('evidence needs a feature and a target that are not all 0')
    squares, along = _directions(x, y)
    whole = (y**2).sum(axis=0)
    rest = np.maximum(whole - along.sum(axis=0), _ROUNDING * whole)
    return float(_largest(squares, along, rest, len(x)).mean() / len(x))


def _directions(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values of x, and the squares of y along its left singular vectors."""
    # The smaller of the two products: ten times as fast as a decomposition of x itself.
    tall = len(x) > x.shape[1]
    squares, vectors = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    kept = squares > _RANK * squares[-1]
    squares, vectors = squares[kept], vectors[:, kept]
    if tall:
        return squares, (vectors.T @ (x.T @ y)) ** 2 / squares[:, None]
    return squares, (vectors.T @ y) ** 2


def _largest(squares: np.ndarray, along: np.ndarray, rest: np.ndarray, n: int) -> np.ndarray:
    """The largest log evidence of each column of targets (outputs,)."""
    middle = np.log(squares.mean())

    def value(logs: np.ndarray) -> np.ndarray:
        """Of log ratios (k, outputs), each for its column."""
        ratio = np.exp(middle + logs)[:, None, :]
        shrunk = ratio / (ratio + squares[:, None])
        left_over = (along * shrunk).sum(axis=1) + rest
        determinant = np.log1p(squares[:, None] / ratio).sum(axis=1)
        return -0.5 * (n * (np.log(2 * np.pi * left_over / n) + 1) + determinant)

    columns = along.shape[1]
    # One row of the grid at a time: all of it would hold 241 times the targets.
    tried = np.stack([value(np.full((1, columns), log))[0] for log in RATIOS])
    best = RATIOS[tried.argmax(axis=0)]
    step = RATIOS[1] - RATIOS[0]
    low, high = best - step, best + step
    for _ in range(40):
        one, two = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        first, second = value(one[None])[0], value(two[None])[0]
        low, high = np.where(first < second, one, low), np.where(first < second, high, two)
    return np.maximum(tried.max(axis=0), value(((low + high) / 2)[None])[0])
