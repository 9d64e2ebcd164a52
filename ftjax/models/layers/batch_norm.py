"""BatchNorm whose running statistics move as PyTorch's do, so that imported ones stay right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from ftjax.models.stages import Mode

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last.

    `momentum` is the weight of the new batch, as in PyTorch (Flax's is the weight of the old
    average: passing one for the other overwrites 90 % of the statistics in a step). The
    running variance takes the unbiased batch variance, the normalisation the biased one,
    as PyTorch's do. Variables: params scale, bias; batch_stats mean, var; all (channels,).
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, '*axes channels'], mode: Mode
    ) -> Float[Array, '*axes channels']:
        channels = x.shape[-1]
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,))
        running_var = self.variable('batch_stats', 'var', jnp.ones, (channels,))
        scale = self.param('scale', nn.initializers.ones, (channels,))
        bias = self.param('bias', nn.initializers.zeros, (channels,))
        mean, var = running_mean.value, running_var.value
        if mode.batch_stats:
            x32, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
            mean, var = x32.mean(axes), x32.var(axes)
            if not self.is_initializing():
                count = x.size // channels
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value += self.momentum * (mean - running_mean.value)
                running_var.value += self.momentum * (unbiased - running_var.value)
        gain = scale * lax.rsqrt(var + self.epsilon)
        return (x * gain + (bias - mean * gain)).astype(self.dtype)
