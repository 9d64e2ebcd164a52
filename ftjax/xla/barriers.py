"""Order in a compiled program: values that cannot be computed before some other value is there.

A compiler is free to compute early what it needs late, and then holds it all that time: the
outputs of rematerialised stages, or float32 copies of weights that are stored in bfloat16.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.pytrees import Array, Tree


def weights_after(weights: Tree, signal: object) -> Tree:
    """The weights, bit for bit, to be used only once `signal` is there.

    It is an optimization barrier, which XLA for CPUs drops before it schedules: there,
    `widened_after` does what it can.
    """
    return jax.lax.optimization_barrier((weights, jax.lax.stop_gradient(signal)))[0]


def widened_after(weight: jax.Array, signal: jax.Array, dtype: DTypeLike) -> jax.Array:
    """A weight cast to a dtype of more bits, but not before `signal` is there.

    On a CPU, where the compiler removes a barrier, the cast goes through a choice whose outcome
    the compiler cannot see.
    """
    if jax.default_backend() != 'cpu':
        return weights_after(weight, signal).astype(dtype)
    first = jax.lax.stop_gradient(signal)[(0,) * signal.ndim].astype(jnp.float32)
    return jnp.where(unseen(first), weight, jnp.zeros_like(weight)).astype(dtype)


def examples_after(tree: Tree, signal: object) -> Tree:
    """The tree, bit for bit, with every leaf that has a row an example waiting for `signal`.

    Args:
      tree: what flows between stages, (batch, ..) each; leaves without such an axis do not wait.
      signal: arrays with the same leading axis, one of them at least of numbers.

    On a CPU, where the compiler removes a barrier, each example goes through a choice whose outcome
    the compiler cannot see; nothing is exchanged between examples, so nothing crosses devices.
    """
    # The cotangent of a mask is no number.
    numbers = [x for x in jax.tree.leaves(signal) if jnp.issubdtype(x.dtype, jnp.number)]
    if jax.default_backend() != 'cpu':
        return jax.lax.optimization_barrier((tree, numbers))[0]
    ready = always(numbers[0])

    def held(leaf: Array) -> Array:
        if leaf.ndim == 0 or leaf.shape[0] != ready.shape[0]:
            return leaf
        return jnp.where(ready.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, jnp.zeros_like(leaf))

    return jax.tree.map(held, tree)


def always(signal: jax.Array) -> jax.Array:
    """True for every example, as a compiler cannot know: (batch, ..) -> (batch,) bool.

    A product with 0 may be a NaN and therefore stays in the program; as an integer a NaN is 0.
    """
    return unseen(signal.reshape(signal.shape[0], -1)[:, 0].astype(jnp.float32))


def unseen(values: jax.Array) -> jax.Array:
    """True for every float32 value, as a compiler cannot know."""
    return (values * 0.0).astype(jnp.int32) == 0
