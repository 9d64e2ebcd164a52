"""Augmentation of images with their masks: one geometry for both, masks to the nearest pixel.

An augmentation that moves pixels is run a second time with the same key, on an image that holds
the row and the column of each pixel: what comes out says where each pixel came from. That is exact
for whatever takes or interpolates linearly between pixels, the border repeated or reflected, so
that no augmentation has to know of masks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ftjax.data.augmentation import IMAGES, kind_of, parse_augment
from ftjax.data.images.on_device import unit_range
from ftjax.errors import UserError
from ftjax.registry import Term, parts

if TYPE_CHECKING:
    from jaxtyping import Array, Key, Shaped, UInt8


def augment_with_masks(
    images: Shaped[Array, 'batch height width channels'],
    masks: UInt8[Array, 'batch height width'],
    key: Key[Array, ''],
    names: str | Sequence[Term],
) -> tuple[Any, UInt8[Array, 'batch height width']]:
    """Images as `augment` gives them for the key, and masks moved as the images are.

    Returns:
      float32 (B, H, W, C), and the masks.

    Raises:
      UserError: see `check_joint`.
    """
    todo = parse_augment(names) if isinstance(names, str) else tuple(names)
    if not todo:
        return images, masks
    check_joint(todo)
    moved_images = unit_range(images)
    keys = jax.random.split(key, images.shape[0])
    for turn, term in enumerate(todo):
        own = jax.vmap(lambda k, turn=turn: jax.random.fold_in(k, turn))(keys)
        moved_images = jax.vmap(term)(moved_images, own)
        if term.details.moves:
            masks = jax.vmap(functools.partial(moved, term))(masks, own)
    return moved_images, masks


def moved(
    term: Callable[..., Any], mask: UInt8[Array, 'height width'], key: Key[Array, '']
) -> UInt8[Array, 'height width']:
    """A mask as an augmentation moves the pixels of an image, to the nearest pixel."""
    sides = [jnp.arange(side, dtype=jnp.float32) for side in mask.shape]
    places = jnp.stack(jnp.meshgrid(*sides, indexing='ij'), axis=-1)
    last = jnp.asarray(mask.shape) - 1
    came = jnp.clip(jnp.round(term(places, key)), 0, last).astype(jnp.int32)
    return mask[came[..., 0], came[..., 1]]


def check_joint(terms: Sequence[Term]) -> None:
    """UserError for an augmentation of which is not known how it moves pixels."""
    known = [
        part.name
        for part in parts('augmentation').values()
        if part.details is not None and part.details.moves is not None
    ]
    for term in terms:
        if kind_of(term) != IMAGES.of:
            raise UserError(
                f'data.augment {term.name!r} is not for images with masks; expected some of '
                f'{", ".join(known)}'
            )
        if term.details is None or term.details.moves is None:
            raise UserError(
                f'data.augment {term.name!r} does not say whether it moves pixels, so that masks '
                f'cannot follow; expected some of {", ".join(known)}, or one of your own '
                'registered with details=Augmentation(moves=True) or False'
            )
