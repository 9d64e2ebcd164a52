"""Random moves of one image on the device, each a pure function of a key.

All keep shape and scale, work on float32 (H, W, C) of any range, and fill what comes into
view from the image itself, so that they may stand before or after normalisation.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ftjax.data.augmentation import MOVES
from ftjax.ranges import between
from ftjax.registry import register


@register('augmentation', 'flip', details=MOVES, ranges={'probability': between(0, 1)})
def flip(image: jax.Array, key: jax.Array, probability: float = 0.5) -> jax.Array:
    """Mirrors left and right with a probability."""
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


@register('augmentation', 'vertical_flip', details=MOVES, ranges={'probability': between(0, 1)})
def vertical_flip(image: jax.Array, key: jax.Array, probability: float = 0.5) -> jax.Array:
    """Mirrors top and bottom with a probability."""
    return jnp.where(jax.random.bernoulli(key, probability), image[::-1], image)


@register('augmentation', 'pad_crop', details=MOVES, ranges={'pixels': between(0, 64)})
def pad_crop(image: jax.Array, key: jax.Array, pixels: float = 4.0) -> jax.Array:
    """Pads by reflection and cuts the original size out at a random place.

    Source: He et al. 2016, arXiv:1512.03385, section 4.2; reflection instead of zeros as in
    Zagoruyko & Komodakis 2016, arXiv:1605.07146, section 3.
    """
    return _shifted(image, key, int(pixels), 'reflect')


@register('augmentation', 'shift', details=MOVES, ranges={'pixels': between(0, 64)})
def shift(image: jax.Array, key: jax.Array, pixels: float = 2.0) -> jax.Array:
    """Moves by up to so many whole pixels a side; the border is repeated."""
    return _shifted(image, key, int(pixels), 'edge')


@register('augmentation', 'rotate', details=MOVES, ranges={'degrees': between(0, 180)})
def rotate(image: jax.Array, key: jax.Array, degrees: float = 15.0) -> jax.Array:
    """Turns about the centre by up to so many degrees either way, bilinear."""
    angle = jnp.deg2rad(jax.random.uniform(key, (), minval=-degrees, maxval=degrees))
    return warped(image, _rotation(angle), jnp.zeros(2))


@register('augmentation', 'scale', details=MOVES, ranges={'amount': between(0, 0.9)})
def scale(image: jax.Array, key: jax.Array, amount: float = 0.2) -> jax.Array:
    """Zooms in or out about the centre, by a factor within 1 - amount .. 1 + amount, bilinear."""
    factor = jax.random.uniform(key, (), minval=1 - amount, maxval=1 + amount)
    return warped(image, jnp.eye(2) / factor, jnp.zeros(2))


@register('augmentation', 'perspective', details=MOVES, ranges={'distortion': between(0, 0.9)})
def perspective(image: jax.Array, key: jax.Array, distortion: float = 0.3) -> jax.Array:
    """Moves the corners inwards, each by up to this share of half a side: a look from aside."""
    draws = jax.random.uniform(key, (4, 2)) * distortion / 2
    corners = jnp.array([[0, 0], [0, 1], [1, 1], [1, 0]], jnp.float32)
    inwards = jnp.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], jnp.float32)
    sides = jnp.array(image.shape[:2], jnp.float32) - 1
    return sampled(image, projected(image.shape, (corners + inwards * draws) * sides))


def projected(shape: tuple[int, ...], corners: jax.Array) -> jax.Array:
    """Where each pixel comes from, (2, H, W), if the image's corners are to lie at these (4, 2).

    Corners are (y, x) in pixels, clockwise from the upper left.
    """
    height, width = shape[:2]
    own = jnp.array([[0, 0], [0, width - 1], [height - 1, width - 1], [height - 1, 0]], jnp.float32)
    rows, wanted = [], []
    for (y, x), (v, u) in zip(corners, own, strict=True):
        rows.append(jnp.stack([x, y, jnp.ones(()), 0 * x, 0 * x, 0 * x, -u * x, -u * y]))
        rows.append(jnp.stack([0 * x, 0 * x, 0 * x, x, y, jnp.ones(()), -v * x, -v * y]))
        wanted += [u, v]
    h = jnp.linalg.solve(jnp.stack(rows), jnp.stack(wanted))
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing='ij')
    depth = h[6] * x + h[7] * y + 1
    across = (h[0] * x + h[1] * y + h[2]) / depth
    return jnp.stack([(h[3] * x + h[4] * y + h[5]) / depth, across])


@register('augmentation', 'affine', details=MOVES, ranges={'strength': between(0, 1)})
def affine(image: jax.Array, key: jax.Array, strength: float = 0.1) -> jax.Array:
    """A small random turn, scaling, slant and move, all in proportion to one strength.

    Strength s turns by up to s radians, scales by up to exp(s), slants by up to s and moves
    by up to s of the side. Source: Simard et al. 2003, ICDAR, section 2 (affine distortions).
    """
    draws = jax.random.uniform(key, (5,), minval=-strength, maxval=strength)
    slant = jnp.array([[1.0, 0.0], [0.0, 1.0]]).at[1, 0].set(draws[2])
    matrix = _rotation(draws[0]) @ slant * jnp.exp(draws[1])
    return warped(image, matrix, draws[3:] * jnp.array(image.shape[:2]))


@register(
    'augmentation', 'random_resized_crop', details=MOVES, ranges={'least_area': between(0.01, 1)}
)
def random_resized_crop(image: jax.Array, key: jax.Array, least_area: float = 0.35) -> jax.Array:
    """Cuts out a random box of at least this share of the area and resizes it, antialiased.

    Aspect ratio log-uniform in 3/4 .. 4/3; a side that would be too long is cut to the
    image's. Source: Szegedy et al. 2015, arXiv:1409.4842, section 6 (there from 0.08).
    """
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (), minval=least_area, maxval=1.0)
    log_ratio = jax.random.uniform(ratio_key, (), minval=-1, maxval=1) * jnp.log(4 / 3)
    stretch = jnp.exp(jnp.array([-log_ratio, log_ratio]) / 2)
    box = jnp.minimum(jnp.sqrt(area) * stretch, 1.0)  # as shares of the sides
    low = jax.random.uniform(place_key, (2,)) * (1 - box)
    return crop_resize(image, low, box)


def crop_resize(image: jax.Array, low: jax.Array, box: jax.Array) -> jax.Array:
    """The box at `low` of size `box`, shares of the sides (y, x), resized to the whole image."""
    sides = jnp.array(image.shape[:2], jnp.float32)
    return jax.image.scale_and_translate(
        image,
        image.shape,
        spatial_dims=(0, 1),
        scale=1 / box,
        translation=-low * sides / box,
        method='linear',
        antialias=True,
    )


def _shifted(image: jax.Array, key: jax.Array, pixels: int, mode: str) -> jax.Array:
    padded = jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    corner = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    return jax.lax.dynamic_slice(padded, (corner[0], corner[1], 0), image.shape)


def _rotation(angle: jax.Array) -> jax.Array:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cos, -sin], [sin, cos]])


def warped(image: jax.Array, matrix: jax.Array, offset: jax.Array) -> jax.Array:
    """Samples at matrix @ (point - centre) + centre + offset, bilinear, the border repeated."""
    centre = (jnp.array(image.shape[:2]) - 1) / 2
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, image.shape[:2]), indexing='ij'))
    points = jnp.einsum('ij,jhw->ihw', matrix, grid - centre[:, None, None])
    return sampled(image, points + (centre + offset)[:, None, None])


def sampled(image: jax.Array, points: jax.Array) -> jax.Array:
    """The image at points (2, H, W), rows and columns in pixels, bilinear, the border repeated."""
    last = jnp.array(image.shape[:2])[:, None, None] - 1
    points = jnp.clip(points, 0, last)
    low = jnp.floor(points).astype(jnp.int32)
    high = jnp.minimum(low + 1, last)
    part = (points - low)[..., None]
    top = image[low[0], low[1]] * (1 - part[1]) + image[low[0], high[1]] * part[1]
    bottom = image[high[0], low[1]] * (1 - part[1]) + image[high[0], high[1]] * part[1]
    return top * (1 - part[0]) + bottom * part[0]
