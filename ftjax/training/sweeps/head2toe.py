"""Head2Toe: a linear head on a chosen part of what all stages give, from stored features alone.

A linear head on all of them is fitted with a group lasso, a group being the weights of one
feature; features are ranked by the squares of their weights, summed over classes; a share of them
is kept, and a head is fitted on these anew. Source: Evci et al. 2022, arXiv:2201.03529, and its
code. There the fits are by steps of a learning rate; here both are solved to their optimum, by
FISTA (Beck and Teboulle 2009) and by L-BFGS.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from ftjax.errors import UserError
from ftjax.training.sweeps.linear_probe import Probe, checked, fit_probe

STRENGTHS = (0.1, 0.01, 0.001)
"""Penalties of the group lasso that are tried, as shares of the one that leaves no feature."""


@dataclasses.dataclass(frozen=True)
class Head2Toe:
    """A head on the features that were kept.

    Attributes:
      kept: positions of these features, (kept,), rising.
      probe: heads on them, one for each L2 penalty.
      best: which of these, by validation.
      strength: of the group lasso that chose, as in STRENGTHS.
    """

    kept: np.ndarray
    probe: Probe
    best: int
    strength: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(examples, classes) of all features (examples, features)."""
        return self.probe.logits(features[:, self.kept])[self.best]


def joined(taps: Sequence[np.ndarray]) -> np.ndarray:
    """What several stages give, each (examples, width), at length 1 and side by side.

    >>> joined([np.array([[3.0, 4.0]]), np.array([[0.0, 2.0]])])
    array([[0.6, 0.8, 0. , 1. ]], dtype=float32)
    """
    lengths = [np.linalg.norm(tap, axis=1, keepdims=True) for tap in taps]
    units = [tap / np.maximum(n, 1e-12) for tap, n in zip(taps, lengths, strict=True)]
    return np.concatenate(units, axis=1).astype(np.float32)


def fit_head2toe(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    classes: int,
    share: float,
    steps: int = 500,
) -> Head2Toe:
    """The head that is most accurate on validation data, over penalties of both fits.

    Args:
      train, val: features (examples, features) and labels (examples,).
      classes: of the head.
      share: of the features that is kept; at least one is.
      steps: of FISTA.
    """
    found = []
    count = max(1, round(share * train[0].shape[1]))
    largest = largest_penalty(*train, classes)
    for strength in STRENGTHS:
        weights = group_lasso(*train, classes, strength * largest, steps)
        kept = np.sort(np.argsort(-(weights**2).sum(axis=1), kind='stable')[:count])
        probe = fit_probe(train[0][:, kept], train[1], classes)
        best = probe.best(val[0][:, kept], val[1])
        score = probe.accuracies(val[0][:, kept], val[1])[best]
        found.append((score, Head2Toe(kept, probe, best, strength)))
    # Of equals the strongest penalty, which is the first.
    return max(found, key=lambda pair: pair[0])[1]


def largest_penalty(features: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """The penalty from which on a group lasso leaves no feature: the longest gradient at 0."""
    x, y, _ = checked(features, labels, classes, (1.0,))
    rest = np.eye(classes)[y] - np.bincount(y, minlength=classes) / len(y)
    return float(np.linalg.norm(x.T @ rest / len(y), axis=1).max())


def group_lasso(
    features: np.ndarray, labels: np.ndarray, classes: int, penalty: float, steps: int = 500
) -> np.ndarray:
    """Weights (features, classes) of a softmax regression with a penalty on the length of rows.

    Minimises the mean cross-entropy plus `penalty` times the sum over features of the length of
    their weights; a bias is fitted and not penalised.

    Raises:
      UserError: labels out of range, a penalty below 0, or features that are no numbers.
    """
    if not penalty >= 0:
        raise UserError(f'the penalty of a group lasso must not be negative, it is {penalty}')
    x, y, _ = checked(features, labels, classes, (1.0,))
    whole = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    # The Hessian of the cross-entropy by the logits is at most 1/2.
    rate = 2.0 * len(x) / float(np.linalg.norm(whole, 2) ** 2)
    # Rates are arguments, so that all penalties share one program.
    rates = (np.float32(rate), np.float32(rate * penalty))
    solved = _fista(jnp.asarray(whole, jnp.float32), jnp.asarray(y), *rates, classes, steps)
    return np.asarray(solved)[:-1]


@functools.partial(jax.jit, static_argnames=('classes', 'steps'))
def _fista(
    x: jax.Array, y: jax.Array, rate: ArrayLike, shrinkage: ArrayLike, classes: int, steps: int
) -> jax.Array:
    """Weights (features + 1, classes), the last row the bias."""

    def loss(weights: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(x @ weights, y).mean()

    def step(_: int, carry: tuple[jax.Array, jax.Array, jax.Array]):
        weights, ahead, t = carry
        moved = ahead - rate * jax.grad(loss)(ahead)
        length = jnp.linalg.norm(moved, axis=1, keepdims=True)
        shrunk = moved * jnp.maximum(1 - shrinkage / jnp.maximum(length, 1e-30), 0)
        new = shrunk.at[-1].set(moved[-1])
        t_new = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        return new, new + (t - 1) / t_new * (new - weights), t_new

    zeros = jnp.zeros((x.shape[1], classes))
    return jax.lax.fori_loop(0, steps, step, (zeros, zeros, jnp.ones(())))[0]
