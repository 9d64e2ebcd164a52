"""Random changes of colours: of float32 images (H, W, C) between 0 and 1, which stay there.

An amount a draws a factor between 1 - a and 1 + a, and 1 changes nothing. The factors mean what
they mean in Pillow's ImageEnhance. Images of one channel have no saturation and no hue.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ftjax.data.augmentation import IMAGES
from ftjax.ranges import between
from ftjax.registry import register

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2."""
_SHARE = between(0, 1)


@register('augmentation', 'brightness', details=IMAGES, ranges={'amount': _SHARE})
def brightness(image: jax.Array, key: jax.Array, amount: float = 0.4) -> jax.Array:
    """Makes the image darker or brighter by a random factor."""
    return brightened(image, _factor(key, amount))


@register('augmentation', 'contrast', details=IMAGES, ranges={'amount': _SHARE})
def contrast(image: jax.Array, key: jax.Array, amount: float = 0.4) -> jax.Array:
    """Moves pixels away from the mean grey, or towards it, by a random factor."""
    return contrasted(image, _factor(key, amount))


@register('augmentation', 'saturation', details=IMAGES, ranges={'amount': _SHARE})
def saturation(image: jax.Array, key: jax.Array, amount: float = 0.4) -> jax.Array:
    """Makes colours stronger or weaker by a random factor."""
    return saturated(image, _factor(key, amount))


@register('augmentation', 'hue', details=IMAGES, ranges={'amount': between(0, 0.5)})
def hue(image: jax.Array, key: jax.Array, amount: float = 0.1) -> jax.Array:
    """Turns the colour wheel by up to this share of a whole turn, either way."""
    return turned(image, jax.random.uniform(key, (), minval=-amount, maxval=amount))


@register('augmentation', 'grayscale', details=IMAGES, ranges={'probability': _SHARE})
def grayscale(image: jax.Array, key: jax.Array, probability: float = 0.2) -> jax.Array:
    """Takes the colours away with a probability."""
    return jnp.where(jax.random.bernoulli(key, probability), saturated(image, 0.0), image)


def luma(image: jax.Array) -> jax.Array:
    """Grey (H, W, 1) of an image; the mean of channels where they are not three."""
    if image.shape[-1] != 3:
        return image.mean(axis=-1, keepdims=True)
    return (image * jnp.asarray(LUMA, image.dtype)).sum(axis=-1, keepdims=True)


def blended(first: jax.Array, second: jax.Array, factor: jax.Array | float) -> jax.Array:
    """`first` at 0, `second` at 1, beyond it further on; cut to 0..1."""
    return jnp.clip(first + factor * (second - first), 0, 1)


def brightened(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Black at 0, the image at 1."""
    return blended(jnp.zeros_like(image), image, factor)


def contrasted(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """The mean grey at 0, the image at 1."""
    return blended(jnp.full_like(image, luma(image).mean()), image, factor)


def saturated(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Grey at 0, the image at 1."""
    return blended(jnp.broadcast_to(luma(image), image.shape), image, factor)


def turned(image: jax.Array, share: jax.Array | float) -> jax.Array:
    """The hue moved on by a share of the whole wheel; lightest and darkest channel stay.

    Source: the hexcone model, Smith 1978, 10.1145/965139.807361.
    """
    if image.shape[-1] != 3:
        return image
    high, low = image.max(axis=-1), image.min(axis=-1)
    spread = high - low
    safe = jnp.where(spread > 0, spread, 1)
    r, g, b = (image[..., c] for c in range(3))
    angle = jnp.where(
        high == r, (g - b) / safe, jnp.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe)
    )
    angle = angle + 6 * share
    # Channel n of hue h (in sixths): high - spread * clip(min(k, 4 - k), 0, 1), k = (n + h) mod 6.
    k = (jnp.array([5.0, 3.0, 1.0]) + angle[..., None]) % 6
    part = jnp.clip(jnp.minimum(k, 4 - k), 0, 1)
    return high[..., None] - spread[..., None] * part


def _factor(key: jax.Array, amount: float) -> jax.Array:
    return jax.random.uniform(key, (), minval=1 - amount, maxval=1 + amount)
