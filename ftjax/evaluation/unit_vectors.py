"""Vectors at length 1, and how alike two are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Array = jax.Array | np.ndarray


def unit(vectors: Float[Array, '*axes dim']) -> Float[Array, '*axes dim']:
    """Vectors at length 1."""
    squares = jnp.square(vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))


def pair_cosines(vectors: Float[np.ndarray, 'pairs 2 dim']) -> Float[np.ndarray, ' pairs']:
    """The cosine of each pair, float64."""
    two = np.asarray(unit(jnp.asarray(vectors, jnp.float32)), np.float64)
    return (two[:, 0] * two[:, 1]).sum(axis=-1)
