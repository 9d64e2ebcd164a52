"""The second half of attention: softmax of scores and the product with values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float


@jax.custom_vjp
def weighted_values(
    scores: Float[Array, 'rows time keys'], value: Float[Array, 'rows keys depth']
) -> Float[Array, 'rows time depth']:
    """`softmax(scores) @ value`, with a gradient that reads the scores' array less often.

    The exponentials are divided by their sum after the product with the values, so that an array
    (time, depth) is scaled and none of (time, keys). In the gradient the sum that the softmax
    subtracts is that of the outputs with their cotangents, again over depth and not over keys
    (Dao et al. 2022, FlashAttention, appendix B.2). On two cores, a step of a ViT of width 192
    takes 3 to 4 % less so. There is no forward-mode derivative (`jax.jvp`).

    Args:
      scores: float32.
      value: its dtype is that of the products and of what is returned.
    """
    return _forward(scores, value)[0]


def _forward(scores: Array, value: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    powers = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
    share = 1 / powers.sum(axis=-1, keepdims=True)
    powers = powers.astype(value.dtype)
    out = (jnp.einsum('ntk,nkd->ntd', powers, value) * share).astype(value.dtype)
    return out, (powers, share, value, out)


def _backward(kept: tuple[Array, Array, Array, Array], cotangent: Array) -> tuple[Array, Array]:
    powers, share, value, out = kept
    scaled = cotangent * share
    meant = (scaled * out).sum(axis=-1, keepdims=True)
    scaled = scaled.astype(value.dtype)
    of_weights = jnp.einsum('ntd,nkd->ntk', scaled, value).astype(jnp.float32)
    return powers * (of_weights - meant), jnp.einsum('ntk,ntd->nkd', powers, scaled)


weighted_values.defvjp(_forward, _backward)
