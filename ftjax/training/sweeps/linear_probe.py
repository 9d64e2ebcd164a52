"""Linear probes on features by L-BFGS: the optimum itself, for a whole path of penalties at once.

Nothing is to be tuned but the penalty: no rate, no batch size, no number of epochs. All
penalties are solved side by side in one program, each stopped when its gradient is small.
Source of the method: Liu and Nocedal 1989, Mathematical Programming 45, 503-528; of its use for
probes: Kornblith et al. 2019, arXiv:1805.08974, section 3.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ftjax.errors import UserError
from ftjax.pytrees import Array

PATH = tuple(float(c) for c in np.logspace(-4, 4, 17))
"""Inverse penalties that are tried unless others are given."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """Linear classifiers, one for each inverse penalty.

    Attributes:
      penalties: inverse penalties C, (paths,) float64; the larger, the weaker.
      kernels: (paths, features, classes) float32, for features as they are given.
      biases: (paths, classes) float32.
      steps: iterations that each took, (paths,) int32.
      converged: whether each stopped by its gradient, not by the number of steps, (paths,).
    """

    penalties: np.ndarray
    kernels: np.ndarray
    biases: np.ndarray
    steps: np.ndarray
    converged: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(paths, examples, classes) float32 of features (examples, features)."""
        x = np.asarray(features, np.float32)
        return np.einsum('nd,pdk->pnk', x, self.kernels) + self.biases[:, None]

    def accuracies(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The share of examples that each gets right, (paths,)."""
        return (self.logits(features).argmax(axis=-1) == np.asarray(labels)).mean(axis=-1)

    def best(self, features: np.ndarray, labels: np.ndarray) -> int:
        """The position of the most accurate one on validation data; of equals the middle one."""
        accuracies = self.accuracies(features, labels)
        tied = np.flatnonzero(accuracies == accuracies.max())
        return int(tied[(len(tied) - 1) // 2])


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    penalties: tuple[float, ...] = PATH,
    standardise: bool = True,
    steps: int = 1000,
    tolerance: float = 1e-4,
) -> Probe:
    """Multinomial logistic regression with an L2 penalty, to its optimum.

    Minimises C times the sum of the cross-entropies plus half the squared norm of the kernel,
    divided by C times the number of examples; the bias is not penalised. That is the objective
    of scikit-learn's LogisticRegression.

    Args:
      features: (examples, features), any floating type.
      labels: (examples,) ints from 0 to classes - 1.
      classes: of the head.
      penalties: inverse penalties C, above 0.
      standardise: penalise the kernel for features brought to mean 0 and deviation 1; the
        kernels that come back are for the features as they are.
      steps: most iterations.
      tolerance: largest entry of the gradient at which one counts as converged.

    Raises:
      UserError: labels or penalties out of range, or features that are no numbers.

    >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> fit_probe(x, y, 2, penalties=(1.0,)).accuracies(x, y)
    array([1.])
    """
    x, y, c = checked(features, labels, classes, penalties)
    mean, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if standardise:
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale[scale == 0] = 1.0  # a feature that never varies says nothing
    inputs = jnp.asarray((x - mean) / scale, jnp.float32)
    solved = _solve(inputs, jnp.asarray(y), jnp.asarray(c, jnp.float32), classes, steps, tolerance)
    (kernels, biases), count, largest = jax.device_get(solved)
    kernels = kernels / scale[:, None]
    biases = biases - np.einsum('d,pdk->pk', mean, kernels)
    return Probe(
        c, kernels.astype(np.float32), biases.astype(np.float32), count, largest <= tolerance
    )


# Compiled once for all probes of a shape.
@functools.partial(jax.jit, static_argnames=('classes', 'steps', 'tolerance'))
def _solve(
    x: jax.Array, y: jax.Array, penalties: jax.Array, classes: int, steps: int, tolerance: float
) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
    """((kernels, biases), iterations, largest entries of the gradients), each by penalty."""
    solver = optax.lbfgs()

    def run(x, y, penalty):
        def loss(params):
            kernel, bias = params
            losses = optax.softmax_cross_entropy_with_integer_labels(x @ kernel + bias, y)
            return losses.mean() + 0.5 * (kernel**2).sum() / (penalty * len(y))

        value_and_grad = optax.value_and_grad_from_state(loss)

        def goes_on(carry):
            _, _, count, largest = carry
            return (count < steps) & (largest > tolerance)

        def step(carry):
            params, state, count, _ = carry
            value, grad = value_and_grad(params, state=state)
            updates, state = solver.update(
                grad, state, params, value=value, grad=grad, value_fn=loss
            )
            params = optax.apply_updates(params, updates)
            # The line search has evaluated the gradient where it ended.
            after = optax.tree.get(state, 'grad')
            largest = jnp.max(jnp.stack([jnp.abs(g).max() for g in jax.tree.leaves(after)]))
            return params, state, count + 1, largest

        zeros = jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)
        start = zeros, solver.init(zeros), jnp.zeros((), jnp.int32), jnp.array(jnp.inf)
        params, _, count, largest = jax.lax.while_loop(goes_on, step, start)
        return params, count, largest

    return jax.vmap(run, in_axes=(None, None, 0))(x, y, penalties)


def checked(
    features: Array, labels: Array, classes: int, penalties: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features float64, labels int32 and penalties float64, or UserError."""
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    c = np.asarray(penalties, np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or not len(x):
        raise UserError(
            f'a probe needs features (examples, features) and a label each, not {x.shape} and '
            f'{y.shape}'
        )
    if not np.isfinite(x).all():
        raise UserError('a probe needs features that are numbers; some are NaN or infinite')
    if y.min() < 0 or y.max() >= classes:
        raise UserError(f'a probe of {classes} classes got labels {y.min()} to {y.max()}')
    if c.ndim != 1 or not len(c) or not (np.isfinite(c) & (c > 0)).all():
        raise UserError(f'the inverse penalties of a probe must be above 0, not {penalties}')
    return x, y.astype(np.int32), c
