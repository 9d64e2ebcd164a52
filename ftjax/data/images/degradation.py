"""Random losses of detail: blur, noise, erased boxes; of float32 images (H, W, C) in 0..1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.augmentation import IMAGES
from ftjax.ranges import above, between
from ftjax.registry import register


@register('augmentation', 'blur', details=IMAGES, ranges={'sigma': between(0, 16)})
def blur(image: jax.Array, key: jax.Array, sigma: float = 1.0) -> jax.Array:
    """A Gaussian blur of up to this standard deviation, in pixels; the border is mirrored."""
    return gaussian_blurred(image, jax.random.uniform(key, (), maxval=sigma), sigma)


@register('augmentation', 'noise', details=IMAGES, ranges={'deviation': between(0, 1)})
def noise(image: jax.Array, key: jax.Array, deviation: float = 0.05) -> jax.Array:
    """Adds Gaussian noise to every value, of up to this standard deviation."""
    size, draw = jax.random.split(key)
    size = jax.random.uniform(size, (), maxval=deviation)
    return jnp.clip(image + size * jax.random.normal(draw, image.shape), 0, 1)


@register(
    'augmentation',
    'erasing',
    details=IMAGES,
    source='arXiv:1708.04896',
    ranges={'probability': between(0, 1), 'most': above(0)},
)
def erasing(
    image: jax.Array, key: jax.Array, probability: float = 0.5, most: float = 0.33
) -> jax.Array:
    """Fills a random box with the image's mean colour, with a probability.

    The box has 2 % to the share `most` of the area, and an aspect ratio, log-uniform, from 0.3
    to 1/0.3.
    """
    whether, area, ratio, place = jax.random.split(key, 4)
    share = jax.random.uniform(area, (), minval=0.02, maxval=max(0.02, min(most, 1.0)))
    half = jax.random.uniform(ratio, (), minval=np.log(0.3), maxval=-np.log(0.3)) / 2
    sides = jnp.minimum(jnp.sqrt(share) * jnp.exp(jnp.stack([half, -half])), 1)
    inside = in_box(image.shape[:2], jax.random.uniform(place, (2,)) * (1 - sides), sides)
    hit = inside & jax.random.bernoulli(whether, probability)
    return jnp.where(hit[..., None], image.mean(axis=(0, 1)), image)


def in_box(shape: tuple[int, ...], low: jax.Array, sides: jax.Array) -> jax.Array:
    """Bool (H, W): the pixels whose centres lie in a box, given in shares of the sides (y, x)."""
    y, x = ((jnp.arange(n) + 0.5) / n for n in shape)
    rows = (y >= low[0]) & (y < low[0] + sides[0])
    columns = (x >= low[1]) & (x < low[1] + sides[1])
    return rows[:, None] & columns[None, :]


def gaussian_blurred(image: jax.Array, sigma: jax.Array | float, most: float) -> jax.Array:
    """Blurred by a standard deviation of at most `most` pixels; the kernel reaches 4 of these."""
    reach = min(int(np.ceil(4 * most)), min(image.shape[:2]) - 1)
    if reach < 1:
        return image
    offsets = jnp.arange(-reach, reach + 1)
    kernel = jnp.exp(-0.5 * (offsets / jnp.maximum(sigma, 1e-3)) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pads = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(image, pads, mode='reflect')
        size = image.shape[axis]
        total = jnp.zeros_like(image)
        for n in range(2 * reach + 1):
            total += kernel[n] * jax.lax.slice_in_dim(padded, n, n + size, axis=axis)
        image = total
    return image
