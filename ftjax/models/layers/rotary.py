"""Rotary position embedding (Su et al. 2021) and the scalings that stretch it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from ftjax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32, Int

# Scaling -> how many numbers follow its name.
SCALINGS = {'linear': 1, 'llama3': 4}


def check_scaling(scaling: tuple[str | float, ...] | None) -> None:
    """Raises UserError unless `scaling` is one that `frequencies` knows."""
    if scaling is None:
        return
    name, *numbers = scaling
    if SCALINGS.get(str(name)) != len(numbers):
        raise UserError(
            f'rotary scaling {scaling}: known are (linear, factor) and (llama3, factor, '
            'low_freq_factor, high_freq_factor, original_max_position_embeddings)'
        )


def frequencies(
    depth: int, theta: float, scaling: tuple[str | float, ...] | None = None
) -> Float32[np.ndarray, ' pairs']:
    """Angle a position for each pair of channels.

    Args:
      depth: channels of a head, even.
      theta: the base; wavelengths go from 2 pi to 2 pi theta positions.
      scaling: None; ('linear', factor), which divides all of them (Chen et al. 2023); or
        ('llama3', factor, low, high, length), which divides those whose wavelength is above
        length / low, keeps those below length / high and goes smoothly between (Grattafiori
        et al. 2024).
    """
    check_scaling(scaling)
    angle = theta ** (-np.arange(0, depth, 2) / depth)
    if scaling is not None:
        name, factor, *rest = scaling
        scaled = angle / float(factor)
        if name == 'llama3':
            low, high, length = (float(number) for number in rest)
            turns = length * angle / (2 * math.pi)  # in the length trained on
            kept = np.clip((turns - low) / (high - low), 0, 1)
            scaled = kept * angle + (1 - kept) * scaled
        angle = scaled
    return angle.astype(np.float32)


def rotate(
    x: Float[Array, 'batch time heads depth'],
    positions: Int[Array, 'batch time'],
    angle: Float32[np.ndarray, ' pairs'],
) -> Float[Array, 'batch time heads depth']:
    """Turns channel pairs (i, i + depth / 2) of each position by its angle.

    Products of two results depend on the difference of their positions alone. `angle` is of
    `frequencies`.
    """
    # In float32 whatever x is: bfloat16 cannot tell position 257 from 258.
    turned = positions.astype(jnp.float32)[..., None, None] * angle
    cos, sin = jnp.cos(turned), jnp.sin(turned)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    out = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return out.astype(x.dtype)
