"""Mixing the images of a batch, and with them their labels: mixup and cutmix.

A mixing augmentation is called with images (B, H, W, C), for each a partner (B, H, W, C), and a
key, and returns the mixed images with the share (B,) of the first of each pair. The loss counts
both labels by their shares; metrics are of images as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from ftjax.data.augmentation import Augmentation, of_kind, parse_augment
from ftjax.data.images.degradation import in_box
from ftjax.data.images.on_device import unit_range
from ftjax.pytrees import Inputs
from ftjax.ranges import above
from ftjax.registry import Term, register

BATCHES = Augmentation('batches')
_FROM = above(0)
_APART = 2**16
"""From the numbers of other things that draw from the same key."""


@register(
    'augmentation', 'mixup', details=BATCHES, source='arXiv:1710.09412', ranges={'alpha': _FROM}
)
def mixup(
    images: jax.Array, partners: jax.Array, key: jax.Array, alpha: float = 0.2
) -> tuple[jax.Array, jax.Array]:
    """Averages two images by a share that is drawn from Beta(alpha, alpha) for each pair."""
    share = jax.random.beta(key, alpha, alpha, images.shape[:1])
    return partners + share[:, None, None, None] * (images - partners), share


@register(
    'augmentation', 'cutmix', details=BATCHES, source='arXiv:1905.04899', ranges={'alpha': _FROM}
)
def cutmix(
    images: jax.Array, partners: jax.Array, key: jax.Array, alpha: float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Puts a box of one image into another; its share is drawn from Beta(alpha, alpha).

    The box has the image's aspect ratio and its centre anywhere; what hangs over is cut off, and
    the share is that of the pixels that are left.
    """
    area, place = jax.random.split(key)
    side = jnp.sqrt(1 - jax.random.beta(area, alpha, alpha, images.shape[:1]))
    centre = jax.random.uniform(place, (len(images), 2))
    low = centre - side[:, None] / 2
    inside = jax.vmap(lambda low, side: in_box(images.shape[1:3], low, jnp.stack([side, side])))
    box = inside(low, side)
    return jnp.where(box[..., None], partners, images), 1 - box.mean(axis=(1, 2))


def mixed(
    images: Inputs, key: jax.Array, names: str | Sequence[Term]
) -> tuple[Inputs, dict[str, jax.Array]]:
    """The images of a batch mixed, and what the loss must know of it: `partner` and `share`.

    Of several mixing augmentations each batch gets one, drawn at random. Without one the images
    are returned as they are, with {}.

    Returns:
      images (B, H, W, C), and partner int32 (B,), the position of the other image of each pair,
      and share float32 (B,) of the first.
    """
    todo = of_kind(parse_augment(names) if isinstance(names, str) else names, 'batches')
    if not todo or isinstance(images, Mapping):
        return images, {}
    order, which, draw = jax.random.split(jax.random.fold_in(key, _APART), 3)
    images = unit_range(jnp.asarray(images))
    partner = jax.random.permutation(order, len(images))
    number = jax.random.randint(which, (), 0, len(todo))
    images, share = jax.lax.switch(number, todo, images, images[partner], draw)
    return images, {'partner': partner, 'share': share}
