"""What passes from stage to stage is written down once, and not computed anew by its readers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def written(state: Any) -> Any:
    """The state that leaves a stage, equal in value; on a CPU neither it nor its gradient fuse.

    XLA's CPU compiler takes a sum that several operations read into each of them. Down a
    residual stream of d blocks the gradient is then summed from the top again in each block, in
    all d^2 / 2 times: 43 % of a step of a ViT of 12 blocks, and half of its compilation. An
    `optimization_barrier` does not help, since it is gone before operations are fused there.
    Only sequences (batch, tokens, width) are written: between the blocks of a convolutional
    network the copies cost more than they save, half of a forward pass of a ResNet-26. On a CPU
    there is no forward-mode derivative (`jax.jvp`).
    """
    if jax.default_backend() != 'cpu':
        return state
    return jax.tree.map(lambda x: _summed(x) if _is_stream(x) else x, state)


def _is_stream(x: jax.Array) -> bool:
    return x.ndim == 3 and jnp.issubdtype(x.dtype, jnp.floating)


@jax.custom_vjp
def _summed(x: jax.Array) -> jax.Array:
    # A reduction is what the compiler never computes twice: here of x and zeros.
    both = jnp.stack([x, jnp.zeros_like(x)])
    return jax.lax.reduce(both, jnp.zeros((), x.dtype), jax.lax.add, (0,))


_summed.defvjp(lambda x: (_summed(x), None), lambda _, cotangent: (_summed(cotangent),))
