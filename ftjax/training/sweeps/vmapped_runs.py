"""The states of many runs side by side, and the compiled programs that move and score them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.text.stacked_batches import stacked
from ftjax.pytrees import Batch
from ftjax.tasks.task import PLAIN
from ftjax.training.feature_cache.sources import Source
from ftjax.training.loop.step_runner import model_inputs
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.state import Frozen, TrainState, variables_of
from ftjax.training.step.train_step import TrainStep
from ftjax.xla.cost_analysis import flops_of
from ftjax.xla.program_cache import program, replicated


@dataclasses.dataclass(frozen=True)
class VmappedSteps:
    """`run(states, frozen, batches, rates)`: steps of all runs; batches have a row a seed."""

    step: TrainStep

    def __call__(
        self, states: TrainState, frozen: Frozen, batches: Batch, rates: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        over_rates = jax.vmap(self.step, in_axes=(0, None, None, 0))
        over_seeds = jax.vmap(over_rates, in_axes=(0, None, 0, None))
        return jax.lax.scan(lambda s, x: over_seeds(s, frozen, *x), states, (batches, rates))


@dataclasses.dataclass(frozen=True)
class VmappedScores:
    """`run(states, frozen, batch)`: sums of losses and right answers of all runs on a batch."""

    step: TrainStep

    def __call__(self, states: TrainState, frozen: Frozen, batch: Batch) -> jax.Array:
        network, start, task = self.step.network, self.step.start, self.step.task

        def one(state):
            variables = variables_of(state, frozen, averaged=True)
            outputs: Any = network.apply(variables, batch['inputs'], start=start)
            sums = task.losses(outputs, batch, PLAIN), task.correct(outputs, batch)
            return jnp.stack(sums) * task.weights(batch)

        return jax.vmap(jax.vmap(one))(states)


class Runs:
    """The states of all runs, (seeds, rates, ..), and the programs that move them."""

    def __init__(
        self, phase_states: Sequence[PhaseState], sources: Sequence[Source], rates: Sequence[float]
    ):
        self.phase_state, self.sources = phase_states[0], sources
        self.step = self.phase_state.step(sources[0].start)
        self.rates = np.asarray(rates, np.float64)
        many = len(rates)
        self.frozen = self.phase_state.frozen
        self.states: TrainState = jax.tree.map(
            lambda *leaves: jnp.stack([jnp.broadcast_to(x, (many, *x.shape)) for x in leaves]),
            *(phase_state.state for phase_state in phase_states),
        )
        batches = [model_inputs(batch) for batch in sources[0].validation]
        self.held = [jax.device_put(batch) for batch in batches]
        self.many = len(phase_states) * many
        self.flops: float | None = None
        """Of one step of one run: its share of the program's."""
        self.seconds: list[float] = []
        """Of one step of one run, a number a call."""

    def advance(self, count: int, factors: np.ndarray) -> dict[str, np.ndarray]:
        """Runs some steps; their `loss` and `grad_norm`, each (steps, seeds, rates).

        `factors` is (steps, leaves).
        """
        group = [
            stacked([model_inputs(next(source.batches)) for source in self.sources])
            for _ in range(count)
        ]
        batches = jax.device_put(stacked(group))  # (steps, seeds, batch, ..)
        rates = (factors[:, None, :] * self.rates[None, :, None]).astype(np.float32)
        arguments = self.states, self.frozen, batches, replicated(rates)
        known = program(VmappedSteps(self.step), *arguments, donate=(0,))
        began = time.perf_counter()
        self.states, metrics = known.call(*arguments)
        found = {name: np.asarray(metrics[name]) for name in ('loss', 'grad_norm')}
        self.seconds.append((time.perf_counter() - began) / (count * self.many))
        if self.flops is None:
            # The compiler counts one of the parts of a batch.
            self.flops = flops_of(known.call) * self.step.optimizer.accumulate / self.many
        return found

    def trainable(self) -> dict[str, jax.Array]:
        """The leaves that are evaluated, averaged where there is an average; copies."""
        state = self.states
        return jax.tree.map(jnp.array, state.trainable if state.ema is None else state.ema)

    def scores(self) -> dict[tuple[int, int], dict[str, float]]:
        """Validation loss and accuracy of every run, by (seed, rate) position."""
        sums, count = np.zeros(()), 0.0
        for batch in self.held:
            arguments = self.states, self.frozen, batch
            known = program(VmappedScores(self.step), *arguments)
            found = np.asarray(known.call(*arguments), np.float64)
            sums = sums + found.sum(axis=-1)
            count += float(np.asarray(batch['mask']).sum())
        means = sums / count
        return {
            (s, r): {'loss': loss, 'accuracy': accuracy, 'score': accuracy}
            for s, row in enumerate(means.tolist())
            for r, (loss, accuracy) in enumerate(row)
        }
