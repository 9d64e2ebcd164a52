"""The gradient between two blocks is stored once on a CPU, not computed again by each reader."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ftjax.models.layers.written_once import stored
from ftjax.pytrees import Tree

DEEP = 8
"""Blocks from which on that is worth its copies."""


def written(state: Tree) -> Tree:
    """The state that leaves a stage; on a CPU its gradient is not fused with what reads it.

    XLA's CPU compiler takes a sum that several operations read into each of them. Down a
    residual stream of d blocks the gradient is then summed from the top again in each block, in
    all d^2 / 2 times: 40 % of a step of a ViT of 12 blocks. An `optimization_barrier` does not
    help, since it is gone before operations are fused there. Forward, and in networks of fewer
    than `DEEP` blocks, the copies cost more than they save: 7 % of a step of a BERT of 6 blocks,
    a third of the forward pass of a small ViT.

    Only sequences (batch, tokens, width) are written: between the blocks of a convolutional
    network it does not pay either. On a CPU there is no forward-mode derivative (`jax.jvp`).
    """
    if jax.default_backend() != 'cpu':
        return state
    return jax.tree.map(lambda x: _gradient_written(x) if _is_stream(x) else x, state)


def _is_stream(x: jax.Array) -> bool:
    return x.ndim == 3 and jnp.issubdtype(x.dtype, jnp.floating)


@jax.custom_vjp
def _gradient_written(x: jax.Array) -> jax.Array:
    return x


_gradient_written.defvjp(lambda x: (x, None), lambda _, cotangent: (stored(cotangent),))
