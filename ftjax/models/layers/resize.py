"""Maps brought to another size, bilinear: as matrices, on the device and on the host alike."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32


@functools.lru_cache(maxsize=256)
def bilinear_matrix(old: int, new: int) -> Float32[np.ndarray, 'new old']:
    """The weights of `old` values along a side in each of `new`, with half-pixel centres.

    Places beyond the outermost centres take the outermost value. Nothing is smoothed where the
    side shrinks: PyTorch's `interpolate(mode='bilinear', align_corners=False)`.

    >>> bilinear_matrix(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, old - 1)
    matrix = np.zeros((new, old), np.float64)
    rows = np.arange(new)
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, high), at - low)
    matrix = matrix.astype(np.float32)
    matrix.flags.writeable = False  # it is kept, and given to everybody
    return matrix


def resized(
    maps: Float[Array, 'batch rows columns channels'], size: tuple[int, int]
) -> Float[Array, 'batch height width channels']:
    """Maps at another (height, width), in their dtype; as they are where it is their own."""
    down, across = (bilinear_matrix(a, b) for a, b in zip(maps.shape[1:3], size, strict=True))
    exact = {'precision': jax.lax.Precision.HIGHEST}
    if maps.shape[1] != size[0]:
        maps = jnp.einsum('hr,brwc->bhwc', down.astype(maps.dtype), maps, **exact)
    if maps.shape[2] != size[1]:
        maps = jnp.einsum('wr,bhrc->bhwc', across.astype(maps.dtype), maps, **exact)
    return maps


def resized_on_host(
    maps: Float[np.ndarray, 'rows columns channels'], size: tuple[int, int]
) -> Float[np.ndarray, 'height width channels']:
    """As `resized`, of one example in host memory."""
    down, across = (bilinear_matrix(a, b) for a, b in zip(maps.shape[:2], size, strict=True))
    if maps.shape[0] != size[0]:
        maps = np.tensordot(down, maps, 1)
    return maps if maps.shape[1] == size[1] else np.matmul(across, maps)
