"""What strategies that look at the data see: gradients and trials, without an update."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.data import Splits, TrainStream, fold
from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.freezing.partition import combine
from ftjax.optim.optimizer_state import recorded
from ftjax.tasks import LossOptions, task_of
from ftjax.training.loop.step_runner import model_inputs
from ftjax.training.loop.trial_plan import trial_plan
from ftjax.training.step.phase_state import PhaseState
from ftjax.xla.program_cache import program

PART = 16
"""Examples whose gradients are held at once; their number is rounded to it."""


class DataProbe:
    """Answers at the weights of a phase state at a step, in evaluation mode, unaugmented.

    A pure function of weights, seed and step: its batches come from an order of their own.
    """

    def __init__(
        self,
        phase_state: PhaseState,
        data: Splits,
        step: int,
        stream: Callable[[int, int | None], TrainStream],
        fit: Callable[..., float],
    ):
        """`stream(seed, size)` gives training batches; `fit(variables, plan, data, epochs)`
        a score.
        """
        self.phase_state, self.data, self.step, self.fit = phase_state, data, step, fit
        self.seed = phase_state.seed
        self.variables = phase_state.current(averaged=False)
        if several():  # each process looks at all of the data by itself
            self.variables = jax.device_put(on_host(self.variables), jax.local_devices()[0])
        flat: dict[str, Any] = flatten_dict(self.variables['params'], sep='/')
        base = phase_state.plan.base
        assert base is not None
        self.params = {path: flat[path] for path in base.trainable}
        self.rest = {path: leaf for path, leaf in flat.items() if path not in self.params}
        self.recorded = on_host(recorded(phase_state.state.opt_state))
        draw = int(np.random.default_rng((phase_state.seed, step, 3)).integers(2**31))
        self.stream = functools.partial(stream, draw)

    def gradients(self, batches: int) -> Iterator[Mapping[str, Any]]:
        """The gradient of the mean loss of each of some training batches."""
        for number in range(batches):
            yield self.run('gradients', self.gradient, self.stream(None).batch(number))

    def example_gradients(self, examples: int) -> Iterator[Mapping[str, Any]]:
        """Gradients of single training examples, stacked on a leading axis, part by part."""

        def each(params, rest, stats, batch):
            one = jax.tree.map(lambda x: x[:, None], batch)
            return jax.vmap(self.gradient, in_axes=(None, None, None, 0))(params, rest, stats, one)

        parts = self.stream(min(PART, len(self.data.train)))
        wanted = max(1, min(examples, len(self.data.train)) // parts.batch_size)
        for number in range(wanted):
            yield self.run('example gradients', each, parts.batch(number))

    def gradient(self, params, rest, stats, batch):
        """The gradient of the mean loss with respect to `params`."""

        def loss(params):
            variables = {'params': combine(params, rest), **stats}
            given = self.phase_state.prepared(batch['inputs'])
            outputs: Any = self.phase_state.network.apply(variables, given)
            settings = self.phase_state.settings
            options = LossOptions(label_smoothing=settings.label_smoothing)
            total, weight = task_of(settings.task).loss(outputs, batch, options)
            return total / weight

        return jax.grad(loss)(params)

    def run(self, name: str, function: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Gradients of a batch through a compiled program, on the host."""
        stats = {key: self.variables[key] for key in self.variables if key != 'params'}
        arguments = self.params, self.rest, stats, jax.device_put(model_inputs(batch))
        known = program(
            (name, self.phase_state.network, self.phase_state.settings), function, *arguments
        )
        return jax.device_get(known.call(*arguments))

    def trial(self, leaves: frozenset[str], folds: int, epochs: float) -> float:
        """Mean held-out accuracy over folds of the training split when `leaves` train."""
        plan = trial_plan(self.phase_state, leaves)
        scores = []
        for number in range(folds):
            train, val = fold(self.data.train, folds, number, self.seed)
            part = dataclasses.replace(self.data, train=train, val=val)
            scores.append(self.fit(self.variables, plan, part, epochs))
        return float(np.mean(scores))
