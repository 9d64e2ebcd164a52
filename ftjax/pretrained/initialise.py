"""Fresh variables: of a whole network, or of the stages a checkpoint does not provide."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.errors import UserError
from ftjax.models.stages import Network
from ftjax.pretrained.leaves import flatten, stage_of, unflatten


def leaf_shapes(network: Network) -> dict[str, jax.ShapeDtypeStruct]:
    """Key -> shape and dtype of every leaf, in depth order, without computing anything."""

    def init():
        return network.init(jax.random.key(0), network.example_input(1))

    found = flatten(jax.eval_shape(init))
    depth = {stage: index for index, stage in enumerate(network.stages)}
    return dict(sorted(found.items(), key=lambda item: depth[stage_of(item[0])]))


def random_variables(network: Network, seed: int = 0, dtype: Any = jnp.float32) -> dict:
    """All variables of a network from a seed; parameters in `dtype`, statistics in float32."""

    def init(key):
        return network.init(key, network.example_input(1))

    found = flatten(jax.jit(init)(jax.random.key(seed)))
    return unflatten({key: cast(key, leaf, dtype) for key, leaf in found.items()})


def random_leaves(network: Network, keys: Collection[str], seed: int) -> dict[str, jax.Array]:
    """Some leaves, equal to what `random_variables` gives them with the same seed.

    Only the stages that hold them are run, so a new head costs no memory for the trunk.
    """
    shapes = unflatten(leaf_shapes(network))
    found: dict[str, jax.Array] = {}
    for stage in sorted({stage_of(key) for key in keys}, key=network.stages.index):
        index = network.stages.index(stage)
        following = network.stages[index + 1] if index + 1 < len(network.stages) else None

        def enter(variables, stage=stage, index=index):
            inputs = network.example_input(1)
            return network.apply(variables, inputs, stop=stage) if index else inputs

        entering = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(enter, shapes)
        )

        def init(key, inputs, stage=stage, following=following):
            return network.init(key, inputs, start=stage, stop=following)

        fresh = flatten(jax.jit(init)(jax.random.key(seed), entering))
        found.update({key: leaf for key, leaf in fresh.items() if key in keys})
    for key, leaf in found.items():
        if not np.isfinite(np.asarray(leaf, np.float32)).all():
            raise UserError(f'{key}: the initialiser gave values that are not finite')
    return found


def cast(key: str, leaf: Any, dtype: Any) -> Any:
    """A leaf in the dtype asked for: parameters in `dtype`, running statistics in float32."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    return leaf.astype(dtype if key.startswith('params/') else jnp.float32)
