"""Gradient descent on whole data sets under a plan: many small networks in one program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.freezing.plan.plan import make_plan
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.pytrees import Array, Variables
from ftjax.tasks import task_of
from ftjax.tasks.regression import Regression
from ftjax.training.step.state import make_state, variables_of
from ftjax.training.step.train_step import TrainStep

PLAIN = OptimizerSettings(name='sgd', momentum=0.0)


def descend(
    network: Network,
    variables: Variables,
    freeze: str,
    x: Array,
    y: Array,
    rates: Array,
    steps: int,
) -> Variables:
    """Variables after full-batch gradient descent on the squared error.

    Args:
      network: with one output.
      variables: stacked along a leading axis of runs.
      freeze: a strategy with one phase; the head counts as pretrained.
      x, y: (runs, examples, inputs) and (runs, examples), float32.
      rates: (runs,) learning rates.
      steps: of descent.

    Returns:
      Variables, stacked as they came.
    """
    one = jax.tree.map(lambda leaf: leaf[0], variables)
    phase = make_plan(freeze, network, one, head_is_new=False).at(0)
    step = TrainStep(
        network=network, phase=phase.program, optimizer=PLAIN, task=task_of(Regression.name)
    )

    def run(variables, x, y, rate):
        state, frozen = make_state(variables, phase, step.tx)
        batch = {'inputs': x, 'labels': y, 'mask': jnp.ones(len(y))}
        scaled = rate * jnp.asarray(phase.multipliers, jnp.float32)

        def once(state, _):
            return step(state, frozen, batch, scaled)[0], None

        state, _ = jax.lax.scan(once, state, length=steps)
        return variables_of(state, frozen)

    return jax.jit(jax.vmap(run))(variables, x, y, jnp.asarray(rates, jnp.float32))


def stacked(first: object, last: object) -> dict[str, object]:
    """Variables of two-layer networks from (runs, inputs, width) and (runs, width) weights."""
    return {
        'params': {
            'block_00': {'dense': {'kernel': jnp.asarray(first, jnp.float32)}},
            'head': {'dense': {'kernel': jnp.asarray(last, jnp.float32)[..., None]}},
        }
    }


@functools.partial(jax.jit, static_argnums=0)
def predictions(network: Network, variables: Variables, x: object) -> jax.Array:
    """(runs, examples) outputs at x (runs, examples, inputs)."""
    outputs: Any = jax.vmap(network.apply)(variables, x)
    return outputs[..., 0]


def orthonormal_rows(draw: np.random.Generator, matrix: np.ndarray | tuple[int, int]) -> np.ndarray:
    """The nearest basis of a matrix's rows; of a Gaussian one for a shape."""
    if isinstance(matrix, tuple):
        matrix = draw.normal(size=matrix)
    q, r = np.linalg.qr(matrix.T)
    return (q * np.sign(np.diag(r))).T
