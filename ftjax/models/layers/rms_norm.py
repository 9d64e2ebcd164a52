"""RMSNorm, and the form of it whose weight counts from one."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike


def rms_norm(
    name: str, epsilon: float, dtype: DTypeLike = jnp.float32, *, from_one: bool = False
) -> nn.Module:
    """Division by the root of the mean square, and a scale (Zhang & Sennrich 2019)."""
    kind = OffsetRMSNorm if from_one else nn.RMSNorm
    return kind(epsilon=epsilon, dtype=dtype, name=name)


class OffsetRMSNorm(nn.Module):
    """RMSNorm that multiplies by 1 + scale, over the last axis; params scale, zero at first.

    Gemma's: decay of the weights then pulls the norm to one, not to zero.
    """

    epsilon: float = 1e-6
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        scale = self.param('scale', nn.initializers.zeros, (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        unit = x32 * lax.rsqrt(jnp.square(x32).mean(-1, keepdims=True) + self.epsilon)
        return (unit * (1 + scale.astype(jnp.float32))).astype(self.dtype)
