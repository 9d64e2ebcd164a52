"""What happens to a batch of images on the device, inside the compiled step.

Batches of tokens pass through untouched: texts are augmented and tokenised on the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from ftjax.data.augmentation import kind_of, known, parse_augment
from ftjax.errors import UserError
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Array, Inputs
from ftjax.registry import Term

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing


def prepare(images: Inputs, preprocessing: Preprocessing | TextPreprocessing) -> Inputs:
    """Normalises images as the network expects: (pixels * scale - mean) / std per channel.

    Args:
      images: (B, H, W, C) uint8, or floats that are pixels / 255; grey is repeated if the
        network takes RGB. Tokens, a dict, are returned as they are.
      preprocessing: the network's scale, mean, std and number of channels.

    Returns:
      float32 (B, H, W, preprocessing.channels).

    Raises:
      UserError: if the channels cannot be matched.
    """
    if isinstance(images, Mapping):
        return images
    if isinstance(preprocessing, TextPreprocessing):
        raise UserError('the network takes texts and the data are images')
    # Straight from whole numbers, without the detour by 0..1 and its rounding.
    scale = preprocessing.scale * (1 if images.dtype == jnp.uint8 else 255)
    images = images.astype(jnp.float32) * scale
    if images.shape[-1] != preprocessing.channels:
        if images.shape[-1] != 1:
            raise UserError(
                f'images have {images.shape[-1]} channels and the network takes '
                f'{preprocessing.channels}; set data.channels={preprocessing.channels}'
            )
        images = jnp.repeat(images, preprocessing.channels, axis=-1)
    mean = jnp.asarray(preprocessing.mean, jnp.float32)
    std = jnp.asarray(preprocessing.std, jnp.float32)
    return (images - mean) / std


def augment(images: Inputs, key: jax.Array, names: str | Sequence[Term]) -> Inputs:
    """Augments every image by draws of its own; the same key gives the same images.

    Args:
      images: (B, H, W, C) uint8 or float; before or after `prepare`.
      key: a random key; each image gets one of its own, and each augmentation another.
      names: a comma list as in data.augment, or what parse_augment made of it.

    Returns:
      float32 (B, H, W, C), uint8 brought to 0..1; unchanged if there is nothing to do. Tokens,
      a dict, are returned as they are.

    Raises:
      UserError: for an augmentation of texts.

    >>> augment(jnp.ones((2, 8, 8, 1)), jax.random.key(0), 'shift:1,flip').shape
    (2, 8, 8, 1)
    """
    todo = parse_augment(names) if isinstance(names, str) else tuple(names)
    todo = [term for term in todo if kind_of(term) != 'batches']  # see mixing.py
    if not todo or isinstance(images, Mapping):
        return images
    for term in todo:
        if kind_of(term) != 'images':
            raise UserError(
                f'data.augment {term.name!r} is for texts; for images there are '
                f"{known('images', 'batches')}, and 'none'"
            )
    images = unit_range(images)
    keys = jax.random.split(key, images.shape[0])
    for turn, term in enumerate(todo):
        own = jax.vmap(lambda k, turn=turn: jax.random.fold_in(k, turn))(keys)
        images = jax.vmap(term)(images, own)
    return images


def unit_range(images: Array) -> Array:
    """uint8 to float32 in 0..1; floats as they are, in float32."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    return images.astype(jnp.float32)
