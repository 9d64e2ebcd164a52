"""Random initial variables: of a whole network, or of the stages a checkpoint does not provide."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ftjax.errors import UserError
from ftjax.io.process.host_memory import host_free, shown_size
from ftjax.leaves import flatten, stage_of, unflatten
from ftjax.models.stages import Network
from ftjax.pytrees import Array, Flat, Variables


def leaf_shapes(network: Network) -> dict[str, jax.ShapeDtypeStruct]:
    """Key -> shape and dtype of every leaf, in depth order, without computing anything."""

    def init():
        return network.init(jax.random.key(0), network.example_input(1))

    shapes = flatten(jax.eval_shape(init)).items()
    found = {key: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for key, leaf in shapes}
    depth = {stage: index for index, stage in enumerate(network.stages)}
    return dict(sorted(found.items(), key=lambda item: depth[stage_of(item[0])]))


def random_variables(network: Network, seed: int = 0, dtype: DTypeLike = jnp.float32) -> dict:
    """All variables of a network from a seed; parameters in `dtype`, statistics in float32.

    Raises:
      UserError: they need more memory than is free; nothing was allocated.
    """
    made, key = initialiser(network), jax.random.key(seed)  # pyrefly: ignore
    check_room(network, jax.eval_shape(made, key))
    found = flatten(made(key))
    return unflatten({key: cast(key, leaf, dtype) for key, leaf in found.items()})


def check_room(network: Network, shapes: object) -> None:
    """UserError where the device's free memory, or the machine's, does not hold such variables."""
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    stats = jax.local_devices()[0].memory_stats() or {}
    free = stats['bytes_limit'] - stats['bytes_in_use'] if 'bytes_limit' in stats else host_free()
    if free is not None and size > free:
        raise UserError(
            f'the weights of this {type(network).__name__} take {shown_size(size)}, and '
            f'{shown_size(free)} of memory are free; expected a smaller network (config.model)'
        )


def random_leaves(network: Network, keys: Collection[str], seed: int) -> Flat:
    """Some leaves, equal to what `random_variables` gives them with the same seed.

    Nothing else is computed, so a new head costs no memory for the trunk.
    """
    stages = {stage_of(key) for key in keys}
    if len(stages) == 1:
        made = initialiser(network, *stages)  # pyrefly: ignore
    else:  # one program: a program a stage took a minute to compile for adapters in 12 blocks
        made = initialiser_of(network, frozenset(keys))  # pyrefly: ignore
    initial = flatten(made(jax.random.key(seed)))  # pyrefly: ignore
    found = {key: leaf for key, leaf in initial.items() if key in keys}
    for key, leaf in found.items():
        if not np.isfinite(np.asarray(leaf, np.float32)).all():
            hint = '' if network.made_of == () else '; from_nnx(.., rebuild=..) says how to draw it'
            raise UserError(f'{key}: the initialiser gave values that are not finite{hint}')
    return found


@functools.lru_cache(maxsize=64)
def initialiser(network: Network, stage: str | None = None) -> Callable[[jax.Array], Any]:
    """Makes variables of a network, or of one stage, from a key; compiled once for all seeds."""
    if stage is None:
        return jax.jit(lambda key: drawn(network, key, network.init(key, network.example_input(1))))
    index = network.stages.index(stage)
    following = network.stages[index + 1] if index + 1 < len(network.stages) else None

    def enter(variables: Variables) -> object:
        inputs = network.example_input(1)
        return network.apply(variables, inputs, stop=stage) if index else inputs

    entering = jax.eval_shape(enter, unflatten(leaf_shapes(network)))

    def init(key: jax.Array) -> Any:
        inputs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), entering)
        return drawn(network, key, network.init(key, inputs, start=stage, stop=following))

    return jax.jit(init)


def drawn(network: Network, key: jax.Array, variables: Any) -> dict[str, object]:
    """The variables that `init` gave, with those that the network draws by itself."""
    own = network.own_initial(key)
    if not own:
        return variables
    found = flatten(variables)
    same = {k: x for k, x in own.items() if k in found and x.shape == found[k].shape}
    # A head for other classes keeps what `init` drew of it.
    return unflatten({**found, **same})


@functools.lru_cache(maxsize=64)
def initialiser_of(network: Network, keys: frozenset[str]) -> Callable[[jax.Array], Any]:
    """Makes some leaves from a key; the compiler drops what only the others need."""

    def init(key: jax.Array) -> Any:
        found = flatten(drawn(network, key, network.init(key, network.example_input(1))))
        return unflatten({name: leaf for name, leaf in found.items() if name in keys})

    return jax.jit(init)


def cast(key: str, leaf: Array, dtype: DTypeLike) -> Array:
    """A leaf in the dtype asked for: parameters in `dtype`, running statistics in float32."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    return leaf.astype(dtype if key.startswith('params/') else jnp.float32)
