"""Heads that answer every position of an image: linear, and of several maps (FPN).

A head is registered by a name that `config.model.head` gives. It is a function
`(classes, normalised, **arguments) -> constructor of the stage`; the stage takes what flows,
`hidden` (batch, rows, columns, width) and the maps `tap_0`, `tap_1`, .. of as many stages as the
head asks for, and gives logits (batch, rows, columns, classes) float32, at the size of its finest
map: whoever has labels brings them to the labels' size. Names of its parameters begin with
`pixel_`, so that the classifier of whole images in a checkpoint is never taken for one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.models.layers.mlp import layer_norm
from ftjax.models.layers.resize import resized
from ftjax.models.stages import Mode
from ftjax.ranges import between
from ftjax.registry import register

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32

PREFIX = 'pixel_'
"""What the names of a head's parameters begin with."""
_EPSILON = 1e-6


def is_of_pixels(key: str) -> bool:
    """Whether a leaf, 'params/head/pixel_logits/kernel', is of a head of every position."""
    return f'/{PREFIX}' in key


@dataclasses.dataclass(frozen=True)
class PixelHead:
    """The `details` of a head: how many maps it reads, the last one included."""

    maps: int = 1


@register('head', 'linear', details=PixelHead())
def linear(classes: int, normalised: bool) -> Callable[..., nn.Module]:
    """A linear map of each position of the last stage's normalised map."""
    return partial(LinearHead, classes, normalised)


@register(
    'head',
    'fpn',
    source='arXiv:1901.02446',
    details=PixelHead(4),
    ranges={'width': between(1, 4096)},
)
def fpn(classes: int, normalised: bool, width: int = 256) -> Callable[..., nn.Module]:
    """Maps of four stages, each projected to one width, summed at the finest size."""
    return partial(SummedHead, classes, normalised, width)


class LinearHead(nn.Module):
    """Logits of each position: (batch, rows, columns, width) -> (.., classes)."""

    classes: int
    normalised: bool
    """Whether what arrives was normalised by the stage before; else it is here."""

    @nn.compact
    def __call__(
        self, state: Mapping[str, Float[Array, 'batch rows columns width']], mode: Mode
    ) -> Float32[Array, 'batch rows columns classes']:
        x = state['hidden'].astype(jnp.float32)
        if not self.normalised:
            x = layer_norm(f'{PREFIX}norm', _EPSILON, jnp.float32)(x)
        return logits_of(self.classes)(x)


class SummedHead(nn.Module):
    """A feature pyramid without the convolutions after the sum (Lin et al. 2017; Kirillov 2019).

    Each map is normalised, projected to `width` channels and brought to the finest size; their sum
    goes through ReLU to the logits.
    """

    classes: int
    normalised: bool
    """Whether the last map was normalised by the stage before."""
    width: int

    @nn.compact
    def __call__(
        self, state: Mapping[str, Any], mode: Mode
    ) -> Float32[Array, 'batch rows columns classes']:
        taps = sum(name.startswith('tap_') for name in state)
        maps = [*(state[f'tap_{number}'] for number in range(taps)), state['hidden']]
        rows, columns = (max(each.shape[axis] for each in maps) for axis in (1, 2))
        total = jnp.zeros((), jnp.float32)
        for number, each in enumerate(maps):
            x = each.astype(jnp.float32)
            if number < taps or not self.normalised:
                x = layer_norm(f'{PREFIX}norm_{number}', _EPSILON, jnp.float32)(x)
            x = nn.Dense(self.width, name=f'{PREFIX}map_{number}')(x)
            total = total + resized(x, (rows, columns))
        return logits_of(self.classes)(nn.relu(total))


def logits_of(classes: int) -> nn.Dense:
    """The last linear map, small at first as that of whole images (`heads.Head`)."""
    init = nn.initializers.normal(0.01)
    return nn.Dense(classes, kernel_init=init, name=f'{PREFIX}logits')


class NormMap(nn.Module):
    """The final norm of every position, nothing pooled: a map (batch, rows, columns, width).

    Of tokens the last rows x columns are the image's; those before them (class token, registers,
    prompts) are dropped.
    """

    epsilon: float
    dtype: DTypeLike
    grid: tuple[int, int] | None = None
    """Rows and columns of the tokens; None where what flows is a map already."""

    @nn.compact
    def __call__(self, state: Mapping[str, Any], mode: Mode) -> dict[str, Any]:
        x = state['hidden'] if self.grid is None else as_map(state['hidden'], self.grid)
        return {**state, 'hidden': layer_norm('norm', self.epsilon, self.dtype)(x)}


def as_map(
    tokens: Float[Array, 'batch tokens width'], grid: tuple[int, int]
) -> Float[Array, 'batch rows columns width']:
    """The tokens of patches, the last rows x columns of all, as a map."""
    rows, columns = grid
    batch, _, width = tokens.shape  # a length may be symbolic, which `len` refuses
    return tokens[:, -rows * columns :].reshape(batch, rows, columns, width)
