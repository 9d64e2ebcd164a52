"""The diagonal of the Fisher information of a network on its training data."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.pytrees import Batch, Flat, Variables
from ftjax.tasks.task import Array
from ftjax.training.loop.data_probe import PART, DataProbe, Gradients
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec


@dataclasses.dataclass(frozen=True)
class SquaredGradients:
    """`run(params, rest, stats, batch)`: squared gradients of single losses, summed, their count.

    Rows that weigh nothing, of padding or without a label, are not counted.
    One example after the other: gradients of a whole batch would each be as large as the network.
    """

    of: Gradients

    def __call__(
        self, params: Flat, rest: Flat, stats: Variables, batch: Batch
    ) -> tuple[Flat, Array]:
        def add(carry: tuple[Flat, Array], one: Batch) -> tuple[tuple[Flat, Array], None]:
            sums, count = carry
            alone = jax.tree.map(lambda x: x[None], one)
            found = jax.grad(self.of.loss)(params, rest, stats, alone)
            sums = jax.tree.map(lambda total, g: total + jnp.square(g), sums, found)
            weight = self.of.task.loss_weights(alone, self.of.options).sum()
            return (sums, count + (weight > 0)), None

        start = jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32)
        return jax.lax.scan(add, start, batch)[0]


def diagonal_fisher(spec: RunSpec, examples: int) -> Flat:
    """{leaf: mean squared gradient of the loss of single training examples}, float32.

    At the spec's variables, in evaluation mode, for the leaves that its plan trains; with the
    labels of the data, which is called the empirical Fisher information.

    Where texts are packed, a row of texts is one example.

    Args:
      spec: a run that has not begun.
      examples: how many are looked at, drawn by the seed; at most the training split.
    """
    state = PhaseState(spec)
    state.enter(0)
    probe = DataProbe(state, 0, lambda _: 0.0)
    size = min(PART, len(spec.splits.train), examples)
    stream = probe.stream(size)
    count = max(1, min(examples, len(spec.splits.train)) // size)
    sums: dict[str, np.ndarray] = {}
    seen = 0
    for number in range(count):
        found, counted = probe.run(SquaredGradients(probe.gradients_of()), stream.batch(number))
        seen += int(counted)
        for path, squares in found.items():
            sums[path] = sums.get(path, np.zeros(())) + np.asarray(squares, np.float64)
    return {path: (x / max(seen, 1)).astype(np.float32) for path, x in sums.items()}
