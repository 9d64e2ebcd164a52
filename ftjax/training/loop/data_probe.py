"""What strategies that look at the data see: gradients and trials, without an update."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data import fold
from ftjax.data.images.on_device import prepare
from ftjax.distributed.device_put import on_host
from ftjax.distributed.process_group import several
from ftjax.errors import UserError
from ftjax.freezing.partition import combine
from ftjax.leaves import flatten
from ftjax.models.stages import Network
from ftjax.optim.optimizer_state import recorded
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Batch, Flat, Variables
from ftjax.tasks.retrieval.contrastive_losses import class_contrast
from ftjax.tasks.task import Array, LossOptions, Task
from ftjax.training.loop.step_runner import model_inputs
from ftjax.training.loop.trial_plan import trial_plan, trial_spec
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.step.train_step import LEAST
from ftjax.xla.program_cache import program

PART = 16
"""Examples whose gradients are held at once; their number is rounded to it."""


@dataclasses.dataclass(frozen=True)
class Gradients:
    """`run(params, rest, stats, batch)`: gradients of the mean loss, or of each loss."""

    network: Network
    task: Task
    options: LossOptions
    preprocessing: Preprocessing | TextPreprocessing | None
    each: bool = False
    """Whether of every example by itself, stacked on a leading axis."""

    def __call__(self, params: Flat, rest: Flat, stats: Variables, batch: Batch) -> Flat:
        if not self.each:
            return jax.grad(self.loss)(params, rest, stats, batch)
        one = jax.tree.map(lambda x: x[:, None], batch)
        over_examples = jax.vmap(jax.grad(self.loss), in_axes=(None, None, None, 0))
        return over_examples(params, rest, stats, one)

    def loss(self, params: Flat, rest: Flat, stats: Variables, batch: Batch) -> Array:
        """The mean loss of a batch; 0 of one that weighs nothing."""
        outputs = self.outputs(params, rest, stats, batch)
        total, weight = self.task.loss(outputs, batch, self.options)
        return total / jnp.maximum(weight, LEAST)  # an example may weigh nothing

    def outputs(
        self, params: Flat, rest: Flat, stats: Variables, batch: Batch, stop: str | None = None
    ) -> Any:
        """What the network gives for a batch, or what it passes on to the stage `stop`."""
        variables = {'params': combine(params, rest), **stats}
        inputs = batch['inputs']
        if self.preprocessing is not None:
            inputs = prepare(inputs, self.preprocessing)
        return self.network.apply(variables, inputs, stop=stop)


@dataclasses.dataclass(frozen=True)
class ContrastiveGradients(Gradients):
    """Gradients of the supervised contrastive loss on what reaches the head."""

    temperature: float = 0.07

    def loss(self, params: Flat, rest: Flat, stats: Variables, batch: Batch) -> Array:
        """The mean over the examples that have others of their class in the batch."""
        passed = jax.tree.leaves(self.outputs(params, rest, stats, batch, stop='head'))
        if len(passed) != 1 or passed[0].ndim != 2:
            told = ', '.join(str(leaf.shape[1:]) for leaf in passed)
            raise UserError(
                f'a contrastive loss needs one vector an example; into the head flows {told}'
            )
        real = batch['mask'] > 0
        losses, mates = class_contrast(passed[0], batch['labels'], real, self.temperature)
        counted = real & (mates > 0)
        return jnp.where(counted, losses, 0).sum() / jnp.maximum(counted.sum(), 1)


class DataProbe:
    """Answers at the weights of a phase state at a step, in evaluation mode, unaugmented.

    A pure function of weights, seed and step: its batches come from an order of their own.
    """

    def __init__(
        self,
        phase_state: PhaseState,
        step: int,
        fit: Callable[[RunSpec], float],
    ):
        """`fit` gives the last validation score of a short run of its own."""
        self.phase_state, self.spec, self.step, self.fit = phase_state, phase_state.spec, step, fit
        self.seed = phase_state.seed
        self.variables: Variables = phase_state.current(averaged=False)
        if several():  # each process looks at all of the data by itself
            self.variables = jax.device_put(on_host(self.variables), jax.local_devices()[0])
        flat = flatten(self.variables['params'])
        base = phase_state.plan.base
        assert base is not None
        self.params = {path: flat[path] for path in base.trainable}
        self.rest = {path: leaf for path, leaf in flat.items() if path not in self.params}
        self.recorded = on_host(recorded(phase_state.state.opt_state))
        draw = int(np.random.default_rng((phase_state.seed, step, 3)).integers(2**31))
        self.stream = functools.partial(self.spec.stream_of, draw, augmented=False)

    def gradients(self, batches: int) -> Iterator[Mapping[str, object]]:
        """The gradient of the mean loss of each of some training batches."""
        for number in range(batches):
            yield self.run(self.gradients_of(), self.stream().batch(number))

    def example_gradients(self, examples: int) -> Iterator[Mapping[str, object]]:
        """Gradients of single training examples, stacked on a leading axis, part by part."""
        parts = self.stream(min(PART, len(self.spec.splits.train)))
        wanted = max(1, min(examples, len(self.spec.splits.train)) // parts.batch_size)
        for number in range(wanted):
            yield self.run(self.gradients_of(each=True), parts.batch(number))

    def contrastive_gradients(
        self, epochs: float, temperature: float
    ) -> Iterator[Mapping[str, object]]:
        """The gradient, batch by batch, of a supervised contrastive loss on what the head is given.

        Raises:
          UserError: a task without one class an example, a head that takes more than a vector, or
            no class that is twice in a batch.
        """
        if not self.spec.task.labels.one_class:
            raise UserError(
                f'a contrastive loss needs one class an example; data.task is {self.spec.task.name}'
            )
        stream, twice = self.stream(), False
        run = self.gradients_of(ContrastiveGradients, temperature=temperature)
        for number in range(max(1, round(epochs * self.spec.steps_per_epoch))):
            batch = stream.batch(number)
            twice |= len(set(np.asarray(batch['labels']).tolist())) < len(batch['labels'])
            yield self.run(run, batch)
        if not twice:
            raise UserError(
                'a contrastive loss needs a class twice in a batch; raise data.batch_size, which '
                f'is {self.spec.batch_size}'
            )

    def gradients_of(self, kind: type[Gradients] = Gradients, **options: Any) -> Gradients:
        """What computes gradients of a batch with the run's network, task and loss."""
        step = self.spec.train_step(self.phase_state.phase)
        return kind(step.network, step.task, step.loss, step.preprocessing, **options)

    def run(self, run: Callable[..., Any], batch: Batch) -> Any:
        """What a program of weights, statistics and a batch gives at the present weights."""
        stats = {key: self.variables[key] for key in self.variables if key != 'params'}
        arguments = self.params, self.rest, stats, jax.device_put(model_inputs(batch))
        return jax.device_get(program(run, *arguments).call(*arguments))

    def trial(self, leaves: frozenset[str], folds: int, epochs: float) -> float:
        """Mean held-out accuracy over folds of the training split when `leaves` train."""
        plan = trial_plan(self.phase_state, leaves)
        scores = []
        for number in range(folds):
            train, val = fold(self.spec.splits.train, folds, number, self.seed)
            part = dataclasses.replace(self.spec.splits, train=train, val=val)
            short = trial_spec(self.spec, part, epochs)
            scores.append(self.fit(dataclasses.replace(short, variables=self.variables, plan=plan)))
        return float(np.mean(scores))
