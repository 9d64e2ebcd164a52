"""The state of a run: what a training step changes, apart from what it only reads."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ftjax.freezing.partition import combine, partition
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.registry import Term
from ftjax.leaves import flatten
from ftjax.pytrees import Array, Flat, Variables

Found = tuple[tuple[jax.Array, Flat], Flat]
"""((loss, running statistics afterwards), gradients of the trainable leaves)."""


class TrainState(flax.struct.PyTreeNode):
    """What a step takes and gives back; its buffers are donated.

    All dicts are flat, {path: array}, so that a checkpoint is keyed by path.
    """

    step: jax.Array
    seed: jax.Array
    trainable: Flat
    stats: Flat
    opt_state: optax.OptState
    ema: Flat | None = None


class Frozen(flax.struct.PyTreeNode):
    """What a step reads and never writes: an argument, so not baked into the program."""

    params: Flat
    stats: Flat
    entries: Flat = flax.struct.field(default_factory=dict)
    """Bool arrays by trainable leaf: entries that are False stay as they are."""
    reference: Flat = flax.struct.field(default_factory=dict)
    """The trainable leaves as they were loaded, where a regulariser asks for them."""
    importance: Flat = flax.struct.field(default_factory=dict)
    """How much their entries matter for previous tasks, where a regulariser asks for that."""

    def of_previous(self, term: Term) -> tuple[Flat, ...]:
        """What a regulariser takes of previous tasks; nothing of those that ask for none."""
        return (self.importance,) if term.details.importance else ()


def split(variables: Variables, phase: Phase) -> tuple[Flat, Flat, Frozen]:
    """(trainable leaves, running statistics that move, everything else) of some variables.

    Frozen leaves are held in the dtype that the phase says.
    """
    trainable, params = partition(variables['params'], phase)
    params = {path: rounded(leaf, phase.stored.get(path)) for path, leaf in params.items()}
    flat = flatten(variables.get('batch_stats', {}))
    moving = {path: leaf for path, leaf in flat.items() if path.split('/')[0] in phase.moving_stats}
    fixed = {path: leaf for path, leaf in flat.items() if path not in moving}
    return trainable, moving, Frozen(params, fixed)


def rounded(leaf: Array, dtype: str | None) -> Array:
    """A leaf in a dtype, to the nearest value; as it is for None."""
    return leaf if dtype is None else leaf.astype(dtype)


def make_state(variables: Variables, phase: Phase, optimizer, ema: float = 0.0, seed: int = 0):
    """(TrainState, Frozen) at step 0; copies what will be donated, so `variables` live on."""
    trainable, moving, frozen = split(variables, phase)
    trainable, moving = jax.tree.map(jnp.array, (trainable, moving))
    average = jax.tree.map(jnp.array, trainable) if ema else None
    # The seed is an input of the step, so that runs of several seeds share one program.
    start = jnp.zeros((), jnp.int32), jnp.asarray(seed, jnp.uint32)
    return TrainState(*start, trainable, moving, optimizer.init(trainable), average), frozen


def variables_of(state: TrainState, frozen: Frozen, averaged: bool = False) -> dict[str, Any]:
    """The network's variables, nested; with `averaged`, the moving averages where there are."""
    trainable = state.ema if averaged and state.ema is not None else state.trainable
    variables = {'params': combine(trainable, frozen.params)}
    if state.stats or frozen.stats:
        variables['batch_stats'] = combine(state.stats, frozen.stats)
    return variables
