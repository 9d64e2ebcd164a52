"""Patches of an image, projected: a convolution whose windows do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flax.linen as nn
from flax.linen.dtypes import promote_dtype

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class PatchProjection(nn.Conv):
    """`nn.Conv` with stride equal to its window and no padding, as one matrix product.

    What is left over at the lower and right edge is cut, as by a convolution without padding.
    Parameters are those of `nn.Conv`. On a CPU the gradient of such a convolution took 700 ms of
    16 images of 224 px inside a loop of steps, and this takes 15.
    """

    @nn.compact
    def __call__(
        self, inputs: Float[Array, 'batch height width channels']
    ) -> Float[Array, 'batch rows columns features']:
        batch, height, width, channels = inputs.shape
        down, across = cast('tuple[int, int]', self.kernel_size)
        shape = (down, across, channels, self.features)
        kernel = self.param('kernel', self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param('bias', self.bias_init, (self.features,), self.param_dtype)
        inputs, kernel, bias = promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        rows, columns = height // down, width // across
        x = inputs[:, : rows * down, : columns * across]
        x = x.reshape(batch, rows, down, columns, across, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)
        x = x @ kernel.reshape(-1, self.features)
        return x if bias is None else x + bias
