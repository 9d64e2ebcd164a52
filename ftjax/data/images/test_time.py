"""Test-time augmentation: fixed views of a batch of images, whose outputs are averaged.

A part of this kind is called with images (B, H, W, C) and returns the list of its views, the images
as they are among them. Nothing is drawn, so that the same network has the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.pytrees import Inputs
from ftjax.ranges import between
from ftjax.registry import parse, register


@register('tta', 'flip')
def flip(images: jax.Array) -> list[jax.Array]:
    """The images, and their mirror images: 2 views."""
    return [images, images[:, :, ::-1]]


@register('tta', 'dihedral')
def dihedral(images: jax.Array) -> list[jax.Array]:
    """All turns by quarters and their mirror images: 8 views, of square images."""
    if images.shape[1] != images.shape[2]:
        raise UserError(
            f"data.tta 'dihedral' needs square images; these are {images.shape[1]} x "
            f'{images.shape[2]}'
        )
    turned = [jnp.rot90(images, k, axes=(1, 2)) for k in range(4)]
    return [*turned, *(view[:, :, ::-1] for view in turned)]


@register('tta', 'shift', ranges={'pixels': between(1, 64)})
def shift(images: jax.Array, pixels: int = 2) -> list[jax.Array]:
    """The images, and moved to the four sides by so many pixels, the border repeated: 5 views."""
    height, width = images.shape[1:3]
    around = [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]
    padded = jnp.pad(images, around, mode='edge')
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    return [
        padded[:, y * pixels : y * pixels + height, x * pixels : x * pixels + width]
        for y, x in corners
    ]


def averaged(run: Callable[[Any], jax.Array], inputs: Inputs, name: str) -> jax.Array:
    """The mean of a network's outputs (logits, values) over the views of some images.

    Args:
      run: images -> outputs (B, ..).
      inputs: images (B, H, W, C).
      name: as `config.data.tta`; 'none' or empty runs the images as they are.

    Raises:
      UserError: an unknown name, or inputs that are no images.
    """
    if name in ('', 'none'):
        return run(inputs)
    if not hasattr(inputs, 'ndim') or inputs.ndim != 4:
        raise UserError(f"data.tta {name!r} is for images; expected 'none' for other inputs")
    views = parse('tta', name)(inputs)
    # Summed one by one: the outputs of all views at once would not be smaller than one's program.
    total = run(views[0])
    for view in views[1:]:
        total = total + run(view)
    return total / len(views)
