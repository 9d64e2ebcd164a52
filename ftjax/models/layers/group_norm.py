"""GroupNorm from sums a channel: no array is cut into groups but the small one of the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class GroupNorm(nn.Module):
    """Group normalisation over the image (Wu and He 2018).

    Params scale, bias: (channels,). As `nn.GroupNorm`, which reduces over (height, width,
    channels / groups) of a 5-axis view; here it is one pass for the sums of each channel and one
    for the result, the groups are formed of (batch, channels) numbers in between. Statistics are
    float32.
    """

    groups: int
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, 'batch height width channels']
    ) -> Float[Array, 'batch height width channels']:
        batch, channels = x.shape[0], x.shape[-1]
        scale = self.param('scale', nn.initializers.ones, (channels,))
        bias = self.param('bias', nn.initializers.zeros, (channels,))
        x32 = x.astype(jnp.float32)

        def of_groups(values):  # (batch, channels), each the mean of its group
            each = values.reshape(batch, self.groups, channels // self.groups).mean(-1)
            return jnp.repeat(each, channels // self.groups, axis=-1)

        mean = of_groups(x32.mean((1, 2)))
        square = of_groups(jnp.square(x32).mean((1, 2)))
        gain = lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0) + self.epsilon) * scale
        shift = bias - mean * gain
        return (x32 * gain[:, None, None] + shift[:, None, None]).astype(self.dtype)
