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
LONG = 'longrope'


def check_scaling(scaling: tuple[str | float, ...] | None, depth: int) -> None:
    """Raises UserError unless `scaling` is one that `frequencies` knows, for `depth` channels."""
    if scaling is None:
        return
    name, *numbers = scaling
    if len(numbers) != (2 + depth if name == LONG else SCALINGS.get(str(name))):
        shown = f'{scaling[:4]} ..' if len(scaling) > 5 else f'{scaling}'
        raise UserError(
            f'rotary scaling {shown}: known are (linear, factor), (llama3, factor, '
            'low_freq_factor, high_freq_factor, original_max_position_embeddings) and (longrope, '
            'attention_factor, original_max_position_embeddings, all short factors, all long '
            f'factors), which are {depth} together'
        )


def frequencies(
    depth: int, theta: float, scaling: tuple[str | float, ...] | None = None, time: int = 0
) -> Float32[np.ndarray, ' pairs']:
    """Angle a position for each pair of channels.

    Args:
      depth: channels of a head that are turned, even.
      theta: the base; wavelengths go from 2 pi to 2 pi theta positions.
      scaling: None; ('linear', factor), which divides all of them (Chen et al. 2023);
        ('llama3', factor, low, high, length), which divides those whose wavelength is above
        length / low, keeps those below length / high and goes smoothly between (Grattafiori
        et al. 2024); or ('longrope', attention factor, length, *short, *long), which divides
        each by a factor of its own, in texts of up to `length` tokens by the short ones (Ding
        et al. 2024).
      time: tokens of the text, padding included; of use to 'longrope' alone.
    """
    check_scaling(scaling, depth)
    angle = theta ** (-np.arange(0, depth, 2) / depth)
    if scaling is not None and scaling[0] == LONG:
        length, factors = scaling[2], np.asarray(scaling[3:], np.float64)
        short, long = np.split(factors, 2)
        angle = angle / (long if time > float(length) else short)
    elif scaling is not None:
        name, factor, *rest = scaling
        scaled = angle / float(factor)
        if name == 'llama3':
            low, high, length = (float(number) for number in rest)
            turns = length * angle / (2 * math.pi)  # in the length trained on
            kept = np.clip((turns - low) / (high - low), 0, 1)
            scaled = kept * angle + (1 - kept) * scaled
        angle = scaled
    return angle.astype(np.float32)


def attention_factor(scaling: tuple[str | float, ...] | None) -> float:
    """What queries and keys are multiplied by as they are turned; 1 but for 'longrope'."""
    return float(scaling[1]) if scaling is not None and scaling[0] == LONG else 1.0


def rotate(
    x: Float[Array, 'batch time heads channels'],
    positions: Int[Array, 'batch time'],
    angle: Float32[np.ndarray, ' pairs'],
    factor: float = 1.0,
) -> Float[Array, 'batch time heads channels']:
    """Turns channel pairs (i, i + pairs) of each position by its angle.

    Products of two results depend on the difference of their positions alone.

    Args:
      x: the first 2 * pairs channels are turned.
      positions: of each token.
      angle: of `frequencies`.
      factor: of the channels that are turned.
    """
    # In float32 whatever x is: bfloat16 cannot tell position 257 from 258.
    turned = positions.astype(jnp.float32)[..., None, None] * angle
    return turn(x, jnp.cos(turned) * factor, jnp.sin(turned) * factor)


def turn(
    x: Float[Array, '*axes channels'],
    cos: Float[Array | np.ndarray, '*#axes pairs'],
    sin: Float[Array | np.ndarray, '*#axes pairs'],
) -> Float[Array, '*axes channels']:
    """Channel pairs (i, i + pairs) turned by angles of these cosines."""
    depth = 2 * cos.shape[-1]
    first, second, kept = jnp.split(x.astype(jnp.float32), (depth // 2, depth), axis=-1)
    out = [first * cos - second * sin, second * cos + first * sin, kept]
    return jnp.concatenate(out, axis=-1).astype(x.dtype)
