"""The training step: gradients of the trainable tree alone, from the cut on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ftjax.data.images.on_device import augment, prepare
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.partition import Flat
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.registry import Term
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.tasks.losses import example_losses
from ftjax.training.step.dynamic_backward import wanted_at
from ftjax.training.step.forward import make_run
from ftjax.training.step.state import Frozen, TrainState


def make_train_step(
    network: Network,
    phase: Phase,
    optimizer: OptimizerSettings,
    *,
    preprocessing: Any = None,
    augmentation: str = 'none',
    task: str = 'classification',
    label_smoothing: float = 0.0,
    remat: bool = False,
    regularisers: tuple[Term, ...] = (),
    unregularised: frozenset[str] = frozenset(),
    tx: optax.GradientTransformationExtraArgs | None = None,
    start: str | None = None,
    sharding: Sharding | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """`step(state, frozen, batch, rates) -> (state, metrics)`, to be jitted.

    The stages before the phase's cut run forward only, outside the differentiated function.
    Clip, norms, accumulation and the moving average see the trainable tree and nothing else.

    Args:
      network, phase, optimizer: what runs, what trains, and how.
      preprocessing: normalises images; None for inputs that are ready.
      augmentation: as `config.data.augment`.
      task, label_smoothing: of the loss.
      remat: run the stages from the cut on again in the backward pass, to keep less meanwhile.
      regularisers: regularisers towards the weights in `frozen.reference`.
      unpulled: leaves that have no pretrained value.
      tx: the optimizer, where it is not simply the phase's.
      start: the stage that batches enter at, the phase's cut, if their inputs are what the
        stages before it pass on; None for raw inputs.
      sharding: where leaves and examples lie, if that is for the step to say.

    Random numbers (augmentation, dropout, stochastic depth) follow from the state's seed and
    step. The step takes a batch with 'inputs', 'labels' and 'mask', and `rates` (trainable leaves,)
    float32; its metrics are 'loss' and 'grad_norm', float32 scalars.
    """
    update = (tx or make_optimizer(phase, optimizer)).update
    penalties = [term for term in regularisers if term.details.acts == 'penalty']
    mixers = [term for term in regularisers if term.details.acts == 'weights']
    cut = phase.cut if phase.cut != network.stages[0] else None
    parts = optimizer.accumulate
    sharding = sharding or Sharding(fsdp=1)
    if start not in (None, cut):
        raise ValueError(f'a step can start at the cut {cut!r}, not at {start!r}')

    def loss_and_grads(state, stats, frozen, batch, key, wanted):
        weights, frozen = sharding.gathered((state.trainable, frozen))
        noise, draw = jax.random.split(key)
        inputs = batch['inputs']
        if start is None and preprocessing is not None:
            inputs = prepare(augment(inputs, draw, augmentation), preprocessing)

        run = make_run(network, phase, frozen, noise, remat, wanted)
        if start is None and cut is not None:
            inputs, stats = run(weights, stats, inputs, stop=cut)
            inputs = jax.lax.stop_gradient(inputs)

        def loss_of(trainable):
            used = trainable
            for number, term in enumerate(mixers):
                chance = jax.random.fold_in(draw, number)
                used = term(used, frozen.reference, chance, unregularised)
            outputs, moved = run(used, stats, inputs, start=cut)
            losses = example_losses(outputs, batch['labels'], task, label_smoothing)
            loss = (losses * batch['mask']).sum() / batch['mask'].sum()
            loss += sum(term(trainable, frozen.reference, unregularised) for term in penalties)
            return loss, moved

        found, grads = jax.value_and_grad(loss_of, has_aux=True)(weights)
        return found, sharding.spread(grads)

    def accumulated(state, frozen, batch, key, wanted):
        if parts == 1:
            return loss_and_grads(state, state.stats, frozen, batch, key, wanted)
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
        split = sharding.parts(split)

        def add(carry, part):
            stats, loss, grads = carry
            number, piece = part
            (more, stats), new = loss_and_grads(
                state, stats, frozen, piece, jax.random.fold_in(key, number), wanted
            )
            return (
                stats,
                loss + more / parts,
                jax.tree.map(lambda a, b: a + b / parts, grads, new),
            ), None

        zeros = sharding.spread(jax.tree.map(jnp.zeros_like, state.trainable))
        start = (state.stats, jnp.zeros(()), zeros)
        (stats, loss, grads), _ = jax.lax.scan(add, start, (jnp.arange(parts), split))
        return (loss, stats), grads

    def step(state: TrainState, frozen: Frozen, batch, rates):
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        wanted = wanted_at(network, phase, rates) if phase.by_rates else None
        (loss, stats), grads = accumulated(state, frozen, batch, key, wanted)
        if phase.held or (phase.by_rates and penalties):
            grads = moving_only(grads, phase, rates)
        updates, opt_state = update(grads, state.opt_state, state.trainable, rates=rates)
        trainable: Any = optax.apply_updates(state.trainable, updates)
        for path, mask in frozen.entries.items():
            trainable[path] = jnp.where(mask, trainable[path], state.trainable[path])
        ema = state.ema
        if ema is not None:
            # In this form the average of an entry that does not move stays bitwise.
            ema = jax.tree.map(lambda e, w: e + (1 - optimizer.ema) * (w - e), ema, trainable)
        state = state.replace(
            step=state.step + 1, trainable=trainable, stats=stats, opt_state=opt_state, ema=ema
        )
        return state, {'loss': loss, 'grad_norm': optax.tree.norm(grads)}

    return step


def moving_only(grads: Flat, phase: Phase, rates: jax.Array) -> Flat:
    """The gradients, 0 of leaves held by a rate of 0: they count for no clip and no norm."""

    def masked(grads: Flat) -> Flat:
        return {
            path: jnp.where(rates[i] > 0, grads[path], 0) for i, path in enumerate(phase.trainable)
        }

    # In a branch: the optimizer's many small programs would each repeat the masking, and take
    # twice as long to compile.
    return jax.lax.cond((rates > 0).all(), lambda grads: grads, masked, grads)
