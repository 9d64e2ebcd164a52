"""Policies that draw operations for each image: RandAugment, TrivialAugment, AutoAugment.

The operations are Pillow's, computed on float32 images in 0..1. Shears, moves and turns are
bilinear and repeat the border, where the papers' code fills with black. For each image all
operations are computed and one is taken: on a CPU that costs more than a small network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.augmentation import Augmentation
from ftjax.data.images import tone
from ftjax.data.images.augmentation import warped
from ftjax.data.images.auto_augment import POLICIES
from ftjax.data.images.colour import brightened, contrasted, saturated
from ftjax.errors import check_name
from ftjax.ranges import between
from ftjax.registry import register

Operation = Callable[[jax.Array, jax.Array], jax.Array]
BOTH = Augmentation()
"""Some operations move pixels and others change them."""


def _shear(axis: int) -> Operation:
    def operation(image: jax.Array, amount: jax.Array) -> jax.Array:
        return warped(image, jnp.eye(2).at[axis, 1 - axis].set(amount), jnp.zeros(2))

    return operation


def _translate(axis: int) -> Operation:
    def operation(image: jax.Array, pixels: jax.Array) -> jax.Array:
        return warped(image, jnp.eye(2), jnp.zeros(2).at[axis].set(pixels))

    return operation


def _rotate(image: jax.Array, degrees: jax.Array) -> jax.Array:
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return warped(image, jnp.array([[cos, -sin], [sin, cos]]), jnp.zeros(2))


OPERATIONS: dict[str, Operation] = {
    'identity': lambda image, _: image,
    'shear_x': _shear(1),
    'shear_y': _shear(0),
    'translate_x': _translate(1),
    'translate_y': _translate(0),
    'rotate': _rotate,
    'brightness': lambda image, amount: brightened(image, 1 + amount),
    'colour': lambda image, amount: saturated(image, 1 + amount),
    'contrast': lambda image, amount: contrasted(image, 1 + amount),
    'sharpness': lambda image, amount: tone.sharpened(image, 1 + amount),
    'posterise': lambda image, bits: tone.posterised(image, bits),
    'solarise': lambda image, threshold: tone.solarised(image, threshold),
    'autocontrast': lambda image, _: tone.autocontrasted(image),
    'equalise': lambda image, _: tone.equalised(image),
    'invert': lambda image, _: 1 - image,
}
NAMES = tuple(OPERATIONS)
_SIGNED = (*NAMES[1:6], 'brightness', 'colour', 'contrast', 'sharpness')


def amounts(bins: int, width: int, height: int, *, wide: bool = False) -> dict[str, np.ndarray]:
    """By operation the amounts of magnitudes 0 to bins - 1; `wide` those of TrivialAugment.

    The ranges are those of torchvision's AutoAugment, RandAugment and TrivialAugmentWide.
    """
    steps = np.arange(bins)

    def up_to(most: float) -> np.ndarray:
        return np.linspace(0, most, bins)

    moves = (32.0, 32.0) if wide else (150 / 331 * width, 150 / 331 * height)
    factor = up_to(0.99 if wide else 0.9)
    shear = up_to(0.99 if wide else 0.3)
    return {
        'shear_x': shear,
        'shear_y': shear,
        'translate_x': up_to(moves[0]),
        'translate_y': up_to(moves[1]),
        'rotate': up_to(135 if wide else 30),
        **dict.fromkeys(('brightness', 'colour', 'contrast', 'sharpness'), factor),
        'posterise': 8 - np.round(steps / ((bins - 1) / (6 if wide else 4))),
        'solarise': np.linspace(1, 0, bins),
        **dict.fromkeys(('identity', 'autocontrast', 'equalise', 'invert'), np.zeros(bins)),
    }


def applied(image: jax.Array, number: jax.Array, amount: jax.Array) -> jax.Array:
    """The operation of a number of NAMES, with an amount."""
    branches = [OPERATIONS[name] for name in NAMES]
    return jax.lax.switch(number, branches, image, jnp.asarray(amount, image.dtype))


def _table(image: jax.Array, bins: int, names: Sequence[str], wide: bool = False) -> np.ndarray:
    known = amounts(bins, image.shape[1], image.shape[0], wide=wide)
    return np.stack([known[name] for name in names])


def _signs(key: jax.Array, number: jax.Array) -> jax.Array:
    """-1 or 1 at random for an operation that has two directions, else 1."""
    signed = jnp.array([name in _SIGNED for name in NAMES])[number]
    return jnp.where(signed & jax.random.bernoulli(key), -1.0, 1.0)


@register(
    'augmentation',
    'rand_augment',
    details=BOTH,
    source='arXiv:1909.13719',
    ranges={'operations': between(1, 8), 'magnitude': between(0, 30)},
)
def rand_augment(
    image: jax.Array, key: jax.Array, operations: int = 2, magnitude: int = 9
) -> jax.Array:
    """Operations drawn from fourteen, one after the other, all of one magnitude of 0 to 30."""
    table = jnp.asarray(_table(image, 31, NAMES)[:, magnitude])
    for own in jax.random.split(key, operations):
        which, sign = jax.random.split(own)
        number = jax.random.randint(which, (), 0, len(NAMES) - 1)  # without invert
        image = applied(image, number, table[number] * _signs(sign, number))
    return image


@register('augmentation', 'trivial_augment', details=BOTH, source='arXiv:2103.10158')
def trivial_augment(image: jax.Array, key: jax.Array) -> jax.Array:
    """One operation of fourteen, of a random magnitude; the paper's wide range."""
    which, size, sign = jax.random.split(key, 3)
    number = jax.random.randint(which, (), 0, len(NAMES) - 1)
    table = jnp.asarray(_table(image, 31, NAMES, wide=True))
    amount = table[number, jax.random.randint(size, (), 0, 31)]
    return applied(image, number, amount * _signs(sign, number))


@register('augmentation', 'auto_augment', details=BOTH, source='arXiv:1805.09501')
def auto_augment(image: jax.Array, key: jax.Array, policy: str = 'imagenet') -> jax.Array:
    """A policy's pair of operations, each with its probability: `imagenet`, `cifar10`, `svhn`."""
    pairs = POLICIES[check_name(policy, POLICIES, 'policy of auto_augment:')]
    known = amounts(10, image.shape[1], image.shape[0])
    numbers = jnp.array([[NAMES.index(op) for op, _, _ in pair] for pair in pairs])
    chances = jnp.array([[chance for _, chance, _ in pair] for pair in pairs])
    sizes = jnp.array([[known[op][size] for op, _, size in pair] for pair in pairs])
    draw, *keys = jax.random.split(key, 3)
    pair = jax.random.randint(draw, (), 0, len(pairs))
    for turn, own in enumerate(keys):
        whether, sign = jax.random.split(own)
        number = numbers[pair, turn]
        number = jnp.where(jax.random.bernoulli(whether, chances[pair, turn]), number, 0)
        image = applied(image, number, sizes[pair, turn] * _signs(sign, number))
    return image
