"""Operations on tones, as Pillow's ImageOps has them, of float32 images (H, W, C) in 0..1."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ftjax.data.images.colour import blended


def sharpened(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Smoothed by a kernel of 3 x 3 at 0, the image at 1; the border stays."""
    height, width = image.shape[:2]
    if min(height, width) < 3:
        return image
    around = sum(image[y : height - 2 + y, x : width - 2 + x] for y in range(3) for x in range(3))  # pyrefly: ignore
    smooth = image.at[1:-1, 1:-1].set((around + 4 * image[1:-1, 1:-1]) / 13)
    return blended(smooth, image, factor)


def posterised(image: jax.Array, bits: jax.Array | float) -> jax.Array:
    """Only so many upper bits of the eight of each value."""
    step = 2.0 ** (8 - bits)
    return jnp.floor(_levels(image) / step) * step / 255


def solarised(image: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Values from the threshold on are inverted."""
    return jnp.where(image >= threshold, 1 - image, image)


def autocontrasted(image: jax.Array) -> jax.Array:
    """Each channel stretched to 0..1; one of a single value stays."""
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    spread = high - low
    return jnp.where(spread > 0, (image - low) / jnp.where(spread > 0, spread, 1), image)


def equalised(image: jax.Array) -> jax.Array:
    """Each channel with an even histogram, as of 8 bits."""

    def one(levels: jax.Array) -> jax.Array:
        counts = jnp.zeros(256, jnp.int32).at[levels.reshape(-1)].add(1)
        last = counts[jnp.max(levels)]
        step = (levels.size - last) // 255
        table = (jnp.cumsum(counts) - counts + step // 2) // jnp.maximum(step, 1)
        return jnp.where(step > 0, jnp.clip(table, 0, 255)[levels], levels)

    levels = _levels(image).astype(jnp.int32)
    return jax.vmap(one, in_axes=-1, out_axes=-1)(levels).astype(image.dtype) / 255


def _levels(image: jax.Array) -> jax.Array:
    return jnp.clip(jnp.round(image * 255), 0, 255)
