"""A network run stage by stage, so that each stage can be run again, or its weights come late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from ftjax.distributed.sharding import Sharding
from ftjax.freezing.partition import combine
from ftjax.freezing.plan.phase import PhaseProgram
from ftjax.leaves import flatten
from ftjax.models.shared_leaves import used_by
from ftjax.models.stage_names import stage_slice
from ftjax.models.stages import Network
from ftjax.pytrees import Flat, Inputs
from ftjax.training.step.dynamic_backward import where_wanted
from ftjax.training.step.state import Frozen
from ftjax.xla.barriers import examples_after, weights_after
from ftjax.xla.late_products import late_products
from ftjax.xla.sliced_vocabulary import in_slices, sliced_of
from ftjax.xla.stage_weights import of_parts, signal_of

Moved = tuple[Any, Flat]
"""What stages pass on, and their running statistics afterwards."""


def make_run(
    network: Network,
    phase: PhaseProgram,
    frozen: Frozen,
    noise: jax.Array,
    remat: bool = False,
    wanted: Mapping[str, jax.Array] | None = None,
    sharding: Sharding | None = None,
) -> Callable[..., Moved]:
    """`run(trainable, stats, inputs, start=, stop=) -> (outputs, stats)`, in the phase's modes.

    Args:
      network, phase, frozen: what runs.
      noise: the random key of dropout and stochastic depth.
      remat: keep only what flows between the stages from the cut on, and run each stage again
        in the backward pass (Chen et al. 2016, arXiv:1604.06174).
      sharding: where leaves lie; along `fsdp` they are gathered stage by stage.
      wanted: what the backward pass of each stage has to find, where that is known only while a
        step runs, as `wanted_at` gives it; None for everything from the cut on.
    """
    sharding = sharding or Sharding()
    in_parts = sharding.fsdp > 1

    def whole(trainable: Flat, fixed: Flat, stats: Flat, inputs: Inputs, **stages: Any) -> Moved:
        variables = {'params': combine(trainable, fixed)}
        if stats or frozen.stats:
            variables['batch_stats'] = combine(stats, frozen.stats)
        with late_products(frozen.params, phase.stored), in_slices(network, sharding):
            outputs, moved = network.apply(
                variables,
                inputs,
                modes=phase.modes,
                rngs={'dropout': noise},
                mutable=['batch_stats'] if phase.moving_stats else [],
                **stages,
            )
        changed: Any = moved.get('batch_stats', {})
        flat = flatten(changed)
        return outputs, {path: flat.get(path, leaf) for path, leaf in stats.items()}

    def run(trainable: Flat, stats: Flat, inputs: Inputs, start=None, stop=None) -> Moved:
        again = remat and stop is None  # the stages before the cut have no backward pass
        told = wanted if stop is None else None
        if not again and not phase.stored and told is None and not in_parts:
            return whole(trainable, frozen.params, stats, inputs, start=start, stop=stop)
        names = stage_slice(network.stages, start, stop)
        signal = signal_of(inputs) if in_parts else None
        for name, following in zip(names, [*names[1:], stop], strict=True):

            def one(own, others, inputs, name=name, following=following):
                fixed, stats = others
                return whole(own, fixed, stats, inputs, start=name, stop=following)

            one = rematerialised(one) if again and not in_parts else one
            if told is not None:
                one = where_wanted(one, told[name], first=name == names[0])
            own = used_by(network.ties, name, trainable)
            if in_parts:
                fixed = used_by(network.ties, name, frozen.params)
                last = following is None  # its backward pass follows at once
                sliced = sliced_of(network, {**own, **fixed}, sharding)
                one = of_parts(one, sharding, remat=again and not last, last=last, sliced=sliced)
                (inputs, stats), signal = one(own, fixed, stats, inputs, signal)
            else:
                fixed = late(frozen.params, phase, name, inputs)
                inputs, stats = one(own, (fixed, stats), inputs)
        return inputs, stats

    return run


def late(fixed: Flat, phase: PhaseProgram, name: str, signal: object) -> Flat:
    """The frozen leaves, those of a stage that are stored in less ordered after its inputs."""
    own = {p: x for p, x in fixed.items() if p in phase.stored and p.split('/')[0] == name}
    return {**fixed, **weights_after(own, signal)} if own else fixed


def rematerialised(stage: Callable[..., Moved]) -> Callable[..., Moved]:
    """`stage(trainable, others, inputs)`, of which the backward pass keeps the arguments alone.

    `jax.checkpoint` would do it where optimization barriers hold; on a CPU the compiler drops
    them and runs all stages again at once, before the first gradient needs them. Here the
    inputs of the second run wait for the gradient that it is for.
    """

    @jax.custom_vjp
    def run(trainable: Flat, others: object, inputs: Inputs) -> Moved:
        return stage(trainable, others, inputs)

    def forward(trainable: Flat, others: object, inputs: Inputs):
        return stage(trainable, others, inputs), (trainable, others, inputs)

    def backward(saved: tuple[Flat, object, Inputs], cotangents: Moved):
        trainable, others, inputs = saved
        inputs = examples_after(inputs, cotangents[0])
        # Statistics are carried on, not trained through: their cotangent is no gradient.
        _, pullback, _ = jax.vjp(
            lambda trainable, inputs: stage(trainable, others, inputs),
            trainable,
            inputs,
            has_aux=True,
        )
        trained, passed = pullback(cotangents[0])
        return trained, None, passed

    run.defvjp(forward, backward)
    return run
