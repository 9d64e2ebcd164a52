"""Images cut into square windows, and what attention within them needs."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def pad_to_multiple(x: jax.Array, sizes: tuple[int, int]) -> jax.Array:
    """Zeros below and to the right until both sides are multiples: (batch, h, w, c)."""
    down, across = (-side % size for side, size in zip(x.shape[1:3], sizes, strict=True))
    return jnp.pad(x, ((0, 0), (0, down), (0, across), (0, 0)))


def to_windows(x: jax.Array, window: int) -> jax.Array:
    """(batch, h, w, c) -> (batch x windows, window x window, c)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def from_windows(x: jax.Array, window: int, size: tuple[int, int]) -> jax.Array:
    """The inverse of `to_windows` for an image of (height, width) `size`."""
    (height, width), channels = size, x.shape[-1]
    x = x.reshape(-1, height // window, width // window, window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


class RelativeBias(nn.Module):
    """A learned score for each offset within a window: (1, heads, positions, positions)."""

    window: int
    heads: int

    @nn.compact
    def __call__(self):
        reach = 2 * self.window - 1
        shape = (reach * reach, self.heads)
        table = self.param('table', nn.initializers.normal(0.02), shape)
        place = np.stack(np.divmod(np.arange(self.window**2), self.window))
        down, across = place[:, :, None] - place[:, None, :] + self.window - 1
        return table[down * reach + across].transpose(2, 0, 1)[None]


def shift_mask(height: int, width: int, window: int, shift: int) -> np.ndarray:
    """-100 between positions that a shift has brought together from far: (windows, t, t)."""
    down, across = (
        (np.arange(side) >= side - window).astype(int) + (np.arange(side) >= side - shift)
        for side in (height, width)
    )
    region = (3 * down[:, None] + across).reshape(height // window, window, width // window, window)
    region = region.transpose(0, 2, 1, 3).reshape(-1, window * window)
    return np.where(region[:, :, None] == region[:, None, :], 0.0, -100.0).astype(np.float32)
