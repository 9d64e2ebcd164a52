"""The training step: gradients of the trainable tree alone, from the cut on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from ftjax.data.images.joint import augment_with_masks
from ftjax.data.images.mixing import mixed
from ftjax.data.images.on_device import augment, prepare
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.phase import PhaseProgram
from ftjax.freezing.registry import Term
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Batch, Flat
from ftjax.tasks.task import PLAIN, LossOptions, Task
from ftjax.training.step.compared_parts import of_compared
from ftjax.training.step.dynamic_backward import wanted_at
from ftjax.training.step.forward import Moved, make_run
from ftjax.training.step.state import Found, Frozen, TrainState

if TYPE_CHECKING:
    from jaxtyping import Array, Float32, Int, Key

LEAST = 1e-30
"""Weight of a batch below which its mean loss is 0, not undefined."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainStep:
    """`step(state, frozen, batch, rates) -> (state, metrics)`: a value, and the key of its program.

    Two equal steps are one compiled program, so a field that is forgotten here cannot run a stale
    one. What does not change the program is no field: rates and seeds are arguments.

    The stages before the phase's cut run forward only, outside the differentiated function.
    Clip, norms, accumulation and the moving average see the trainable tree and nothing else.

    Random numbers (augmentation, dropout, stochastic depth) follow from the state's seed and
    step. The step takes a batch with 'inputs', 'labels' and 'mask', and `rates` (trainable leaves,)
    float32; its metrics are 'loss' and 'grad_norm', float32 scalars.
    """

    network: Network
    phase: PhaseProgram
    optimizer: OptimizerSettings
    """Its learning rate is 1: the rates are an argument of the step."""
    task: Task
    loss: LossOptions = PLAIN
    preprocessing: Preprocessing | TextPreprocessing | None = None
    """Normalises images; None for inputs that are ready."""
    augmentation: str = 'none'
    """As `config.data.augment`."""
    remat: bool = False
    """Run the stages from the cut on again in the backward pass, to keep less meanwhile."""
    start: str | None = None
    """The stage that batches enter at, the phase's cut, if their inputs are what the stages before
    it pass on; None for raw inputs."""
    regularisers: tuple[Term, ...] = ()
    """Towards the weights in `frozen.reference`."""
    unregularised: frozenset[str] = frozenset()
    """Leaves that have no pretrained value."""
    per_leaf: bool = False
    record: bool = False
    """Of the optimizer's state; see `make_optimizer`."""
    named: tuple[Term, ...] = ()
    """The registered functions behind the names of optimizer and augmentation: a name that is
    registered anew, in a notebook say, is another program."""
    sharding: Sharding = dataclasses.field(default_factory=Sharding)
    """Where leaves and examples lie, if that is for the step to say."""

    def __post_init__(self):
        if self.start not in (None, self.cut):
            raise ValueError(f'a step can start at the cut {self.cut!r}, not at {self.start!r}')
        own = dataclasses.replace(self.optimizer, learning_rate=1.0)
        object.__setattr__(self, 'optimizer', own)
        if self.network.noiseless:  # stages run alike with noise on or off
            object.__setattr__(self, 'phase', self.phase.without_noise())
        if not self.regularisers:
            object.__setattr__(self, 'unregularised', frozenset())

    @functools.cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in dataclasses.fields(self)))

    def __hash__(self) -> int:  # it is asked for at every call of the program
        return self._hash

    @property
    def cut(self) -> str | None:
        """The first stage that is differentiated; None if that is the first of all."""
        return None if self.phase.cut == self.network.stages[0] else self.phase.cut

    @functools.cached_property
    def tx(self) -> optax.GradientTransformationExtraArgs:
        """The optimizer, over the flat dict of trainable leaves."""
        return make_optimizer(
            self.phase, self.optimizer, per_leaf=self.per_leaf, record=self.record
        )

    def __call__(
        self, state: TrainState, frozen: Frozen, batch: Batch, rates: Float32[Array, ' leaves']
    ) -> tuple[TrainState, dict[str, Float32[Array, '']]]:
        (loss, stats), grads = self.gradients(state, frozen, batch, rates)
        updates, opt_state = self.tx.update(grads, state.opt_state, state.trainable, rates=rates)
        trainable: Any = optax.apply_updates(state.trainable, updates)
        for path, mask in frozen.entries.items():  # decay and momentum would move them
            trainable[path] = jnp.where(mask, trainable[path], state.trainable[path])
        ema = state.ema
        if ema is not None:
            # In this form the average of an entry that does not move stays bitwise.
            kept = 1 - self.optimizer.ema
            ema = jax.tree.map(lambda e, w: e + kept * (w - e), ema, trainable)
        state = state.replace(
            step=state.step + 1, trainable=trainable, stats=stats, opt_state=opt_state, ema=ema
        )
        return state, {'loss': loss, 'grad_norm': optax.tree.norm(grads)}

    def gradients(
        self, state: TrainState, frozen: Frozen, batch: Batch, rates: Float32[Array, ' leaves']
    ) -> Found:
        """((loss, running statistics afterwards), gradients as the optimizer gets them)."""
        phase = self.phase
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        wanted = wanted_at(self.network, phase, rates) if phase.by_rates else None
        found, grads = self.accumulated(state, frozen, batch, key, wanted)
        if phase.held or (phase.by_rates and self.acting('penalty')):
            grads = moving_only(grads, phase, rates)
        # Entries that stay count for no clip and no norm.
        open_ = {path: jnp.where(mask, grads[path], 0) for path, mask in frozen.entries.items()}
        return found, {**grads, **open_}

    def acting(self, where: str) -> list[Term]:
        """The regularisers that act on the loss ('penalty'), or on the weights ('weights')."""
        return [term for term in self.regularisers if term.details.acts == where]

    def accumulated(
        self,
        state: TrainState,
        frozen: Frozen,
        batch: Batch,
        key: Key[Array, ''],
        wanted: Mapping[str, Int[Array, '']] | None,
    ) -> Found:
        """Loss, statistics and gradients of a batch, computed in equal parts."""
        batch = self.moved(batch, key)
        parts = self.optimizer.accumulate
        if parts == 1:
            return self.of_part(state, state.stats, frozen, batch, key, wanted)
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
        split = self.sharding.parts(split)
        if self.task.compares(self.loss):
            return self.of_compared_parts(state, frozen, batch, split, key, wanted)
        # A part, or all, may weigh nothing: completions that were cut off.
        whole = jnp.maximum(self.task.loss_weights(batch, self.loss).sum(), LEAST)

        def add(carry, part):
            stats, loss, grads = carry
            number, piece = part
            (more, stats), new = self.of_part(
                state, stats, frozen, piece, jax.random.fold_in(key, number), wanted
            )
            # Exactly 1 where all parts weigh the same.
            share = self.task.loss_weights(piece, self.loss).sum() * parts / whole
            return (
                stats,
                loss + more * share / parts,
                jax.tree.map(lambda a, b: a + b * share / parts, grads, new),
            ), None

        zeros = self.sharding.spread(jax.tree.map(jnp.zeros_like, state.trainable))
        start = (state.stats, jnp.zeros(()), zeros)
        (stats, loss, grads), _ = jax.lax.scan(add, start, (jnp.arange(parts), split))
        return (loss, stats), grads

    def of_compared_parts(
        self,
        state: TrainState,
        frozen: Frozen,
        batch: Batch,
        split: Batch,
        key: Key[Array, ''],
        wanted: Mapping[str, Int[Array, '']] | None,
    ) -> Found:
        """As `accumulated`, where the loss compares all examples of the batch."""

        def outputs_of(number, piece):
            key_of = jax.random.fold_in(key, number)
            run, _, _, weights = self.entered(state, state.stats, frozen, piece, key_of, wanted)
            return run(weights)[0]

        def loss_of(outputs):
            total, weight = self.task.loss(outputs, batch, self.loss)
            return jnp.asarray(total / weight)

        def part_of(stats, number, piece, cotangents):
            key_of = jax.random.fold_in(key, number)
            return self.of_part(state, stats, frozen, piece, key_of, wanted, cotangents)

        zeros = self.sharding.spread(jax.tree.map(jnp.zeros_like, state.trainable))
        return of_compared(split, state.stats, zeros, outputs_of, loss_of, part_of)

    def moved(self, batch: Batch, key: Key[Array, '']) -> Batch:
        """A whole batch augmented, where labels move with the images.

        Before it is parted: how many pixels are counted is known of moved labels alone.
        """
        ready = self.start is not None or self.preprocessing is None
        if ready or not self.task.labels.moves:
            return batch
        inputs, labels = augment_with_masks(
            batch['inputs'], batch['labels'], jax.random.split(key)[1], self.augmentation
        )
        return {**batch, 'inputs': inputs, 'labels': labels}

    def of_part(
        self,
        state: TrainState,
        stats: Flat,
        frozen: Frozen,
        batch: Batch,
        key: Key[Array, ''],
        wanted: Mapping[str, Int[Array, '']] | None,
        cotangents: jax.Array | None = None,
    ) -> Found:
        """Loss, statistics and gradients of a batch that is computed at once.

        With `cotangents`, gradients of a loss by the outputs, the product of both is the loss.
        """
        run, batch, frozen, weights = self.entered(state, stats, frozen, batch, key, wanted)

        def loss_of(trainable):
            outputs, moved = run(trainable)
            if cotangents is None:
                total, weight = self.task.loss(outputs, batch, self.loss)
                loss = total / jnp.maximum(weight, LEAST)
            else:
                loss = jnp.vdot(outputs, cotangents)
            loss += sum(
                term(trainable, frozen.reference, self.unregularised, *frozen.of_previous(term))
                for term in self.acting('penalty')
            )
            return loss, moved

        found, grads = jax.value_and_grad(loss_of, has_aux=True)(weights)
        return found, self.sharding.spread(grads)

    def entered(
        self,
        state: TrainState,
        stats: Flat,
        frozen: Frozen,
        batch: Batch,
        key: Key[Array, ''],
        wanted: Mapping[str, Int[Array, '']] | None,
    ) -> tuple[Callable[[Flat], Moved], Batch, Frozen, Flat]:
        """(`run(trainable)` from the cut on, the batch as its loss takes it, frozen, trainable)."""
        weights = state.trainable
        noise, draw = jax.random.split(key)
        inputs = batch['inputs']
        if self.start is None and self.preprocessing is not None:
            if not self.task.labels.moves:
                inputs = augment(inputs, draw, self.augmentation)
            inputs, mix = mixed(inputs, draw, self.augmentation)
            inputs, batch = prepare(inputs, self.preprocessing), {**batch, **mix}

        run = make_run(self.network, self.phase, frozen, noise, self.remat, wanted, self.sharding)
        if self.start is None and self.cut is not None:
            inputs, stats = run(weights, stats, inputs, stop=self.cut)
            inputs = jax.lax.stop_gradient(inputs)

        def whole(trainable: Flat) -> Moved:
            used = trainable
            for number, term in enumerate(self.acting('weights')):
                chance = jax.random.fold_in(draw, number)
                used = term(used, frozen.reference, chance, self.unregularised)
            return run(used, stats, inputs, start=self.cut)

        return whole, batch, frozen, weights


def moving_only(grads: Flat, phase: PhaseProgram, rates: Float32[Array, ' leaves']) -> Flat:
    """The gradients, 0 of leaves held by a rate of 0: they count for no clip and no norm."""

    def masked(grads: Flat) -> Flat:
        return {
            path: jnp.where(rates[i] > 0, grads[path], 0) for i, path in enumerate(phase.trainable)
        }

    # In a branch: the optimizer's many small programs would each repeat the masking, and take
    # twice as long to compile.
    return jax.lax.cond((rates > 0).all(), lambda grads: grads, masked, grads)
