"""A stage whose weights lie in parts: gathered one stage ahead of use, and freed after it.

Forward and backward, a stage's weights are gathered when the stage before it begins, so that the
transfer runs beside that stage's work, and no earlier, so that no more than two stages are whole
at once. The backward pass gathers them again: of the forward pass it keeps activations, no
weights. Gradients go to where their leaves lie as soon as the stage has them (ZeRO's stage 3,
Rajbhandari et al. 2020, arXiv:1910.02054; here the unit is a stage).

The order is told by a `signal` that flows beside what stages pass on: numbers that are there when
the stage before begins. On the way back its cotangent is the signal of the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.distributed.sharding import Sharding
from ftjax.pytrees import Flat, Inputs, Tree
from ftjax.xla.barriers import examples_after, unseen, weights_after

Stage = Callable[[Flat, Any, Inputs], tuple[Any, Flat]]
"""`stage(trainable, (fixed, stats), inputs) -> (outputs, stats)`, of whole leaves."""


def signal_of(tree: Tree) -> jax.Array:
    """Numbers that are there when the tree is: float32 (batch,), of the first leaf of numbers."""
    leaves = [x for x in jax.tree.leaves(tree) if x.dtype != jax.dtypes.float0 and x.ndim]
    floats = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.floating)]
    first = jax.lax.stop_gradient((floats or leaves)[0])
    return first.reshape(first.shape[0], -1)[:, 0].astype(jnp.float32)


def whole_after(
    leaves: Flat, signal: jax.Array, sharding: Sharding, sliced: Collection[str] = ()
) -> Flat:
    """Leaves that lie where the sharding says, gathered once `signal` is there, but the sliced."""
    places = {p: sharding.sharding(p, x.shape) for p, x in leaves.items()}
    moved = {p: x for p, x in leaves.items() if places[p] != sharding.whole and p not in sliced}
    if not moved:
        return leaves
    if jax.default_backend() != 'cpu':
        moved = weights_after(moved, signal)
    elif len(signal) % sharding.devices == 0:  # the compiler for CPUs drops a barrier
        specs = {p: places[p].spec for p in moved}
        rows = sharding.examples().spec
        moved = jax.shard_map(
            _held, mesh=sharding.mesh, in_specs=(specs, rows), out_specs=specs, check_vma=False
        )(moved, signal)
    return {**leaves, **sharding.gathered(moved)}


def _held(parts: Flat, signal: jax.Array) -> Flat:
    """On each device its parts, through a choice whose outcome the compiler cannot see."""
    ready = unseen(signal[0])
    return {p: jnp.where(ready, x, jnp.zeros_like(x)) for p, x in parts.items()}


def told_back(arriving: Tree, grads: Flat, sharding: Sharding) -> jax.Array:
    """The signal for the backward pass of the stage before.

    On a CPU nothing runs beside a transfer, so there the gradients are sent off first: else the
    compiler would send those of all stages together at the end, and keep until then what they are
    made of.
    """
    signal = signal_of(arriving)
    if jax.default_backend() != 'cpu' or not grads or len(signal) % sharding.devices:
        return signal

    def both(signal: jax.Array, parts: Flat) -> jax.Array:
        firsts = [x[(0,) * x.ndim].astype(jnp.float32) for x in parts.values()]
        return signal + sum(first * 0.0 for first in firsts)

    rows = sharding.examples().spec
    own = {p: sharding.sharding(p, x.shape).spec for p, x in grads.items()}
    return jax.shard_map(
        both, mesh=sharding.mesh, in_specs=(rows, own), out_specs=rows, check_vma=False
    )(signal, grads)


def of_parts(
    stage: Stage,
    sharding: Sharding,
    *,
    remat: bool = False,
    last: bool = False,
    sliced: Collection[str] = (),
) -> Callable[..., tuple[tuple[Any, Flat], jax.Array]]:
    """`run(trainable, fixed, stats, inputs, signal) -> ((outputs, stats), signal)`, of parts.

    Args:
      stage: of whole leaves.
      sharding: where leaves lie between stages.
      remat: run the stage again in the backward pass and keep its inputs alone.
      last: its backward pass follows at once, so that its leaves stay whole until then.
      sliced: paths of leaves that the stage takes in parts, and gathers itself.
    """

    def again(trainable: Flat, fixed: Flat, signal: jax.Array) -> tuple[Flat, Flat]:
        both = whole_after({**trainable, **fixed}, signal, sharding, sliced)
        return {p: both[p] for p in trainable}, {p: both[p] for p in fixed}

    @jax.custom_vjp
    def run(trainable: Flat, fixed: Flat, stats: Flat, inputs: Inputs, signal: jax.Array):
        own, others = again(trainable, fixed, signal)
        return stage(own, (others, stats), inputs), signal_of(inputs)

    def forward(trainable: Flat, fixed: Flat, stats: Flat, inputs: Inputs, signal: jax.Array):
        if remat:
            return run(trainable, fixed, stats, inputs, signal), (trainable, fixed, stats, inputs)
        own, others = again(trainable, fixed, signal)
        outputs, stats, rest, hole = pulled(stage, own, others, stats, inputs, keep=last)
        return ((outputs, stats), signal_of(inputs)), (trainable, fixed, rest, hole)

    def backward(saved: Any, cotangents: Any):
        (arriving, _), signal = cotangents
        trainable, fixed, *also = saved
        own, others = again(trainable, fixed, signal)  # of the last stage not used, so not run
        if remat:
            stats, inputs = also
            inputs = examples_after(inputs, arriving)
            _, pullback, _ = jax.vjp(
                lambda own, inputs: stage(own, (others, stats), inputs), own, inputs, has_aux=True
            )
        else:
            rest, hole = also
            pullback = hole.filled(rest, {**own, **others})
        trained, passed = pullback(arriving)
        trained = sharding.spread(trained)
        return trained, None, None, passed, told_back(arriving, trained, sharding)

    run.defvjp(forward, backward)
    return run


def pulled(
    stage: Stage, own: Flat, others: Flat, stats: Flat, inputs: Inputs, keep: bool = False
) -> tuple[Any, Flat, list[jax.Array], Hole]:
    """(outputs, statistics, what the backward pass needs beside the weights, its pullback).

    With `keep` the weights are among what it needs.
    """
    shapes = {x.shape for x in jax.tree.leaves((own, others))}
    kept = jax.checkpoint(stage, policy=not_of_weights(shapes), prevent_cse=False)
    outputs, pullback, stats = jax.vjp(
        lambda own, inputs: kept(own, (others, stats), inputs), own, inputs, has_aux=True
    )
    found, structure = jax.tree.flatten(pullback)
    weights = {} if keep else {id(x): p for p, x in {**own, **others}.items()}
    names = tuple(weights.get(id(x)) for x in found)
    rest = [x for x, name in zip(found, names, strict=True) if name is None]
    return outputs, stats, rest, Hole(names, structure)


@jax.tree_util.register_static
class Hole:
    """A pullback's structure, and which of its arrays are weights, by name."""

    def __init__(self, names: tuple[str | None, ...], structure: Any):
        self.names, self.structure = names, structure

    def filled(self, rest: list[jax.Array], weights: Flat) -> Callable[..., Any]:
        others = iter(rest)
        leaves = [next(others) if name is None else weights[name] for name in self.names]
        return jax.tree.unflatten(self.structure, leaves)


def not_of_weights(shapes: Collection[tuple[int, ...]]) -> Callable[..., bool]:
    """A policy of `jax.checkpoint`: keep all but what is made of weights alone, casts say.

    It goes by shapes; an activation of a weight's shape is computed again, to the same numbers.
    """

    def policy(primitive: object, *inputs: Any, **parameters: object) -> bool:
        del primitive, parameters
        sizes = [x.shape for x in inputs if math.prod(x.shape) > 1]
        return not sizes or any(shape not in shapes for shape in sizes)

    return policy
