"""T2: convolutions without norms and shortcuts, so that what a layer learns is its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ftjax.models.layers.convolution import convolve
from ftjax.models.layers.heads import Head
from ftjax.models.stages import Mode, Network


class Layer(nn.Module):
    """3x3 convolution, relu and, where asked for, a 2x2 maximum: (batch, h, w, c) to features."""

    features: int
    pool: bool
    dtype: str

    @nn.compact
    def __call__(self, state: Any, mode: Mode) -> Any:
        x = state['hidden'] if isinstance(state, dict) else state.astype(self.dtype)
        x = nn.Conv(
            *(self.features, (3, 3)),
            padding=1,
            # Without norms the variance has to be kept from layer to layer.
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            name='conv',
            conv_general_dilated=convolve,
        )(x)
        x = nn.relu(x)
        return {'hidden': nn.max_pool(x, (2, 2), (2, 2)) if self.pool else x}


class Dense(nn.Module):
    """All places and channels to features, relu: (batch, h, w, c) -> (batch, features)."""

    features: int
    dtype: str

    @nn.compact
    def __call__(self, state: Any, mode: Mode) -> Any:
        x = state['hidden'].reshape(state['hidden'].shape[0], -1)
        init = nn.initializers.he_normal()
        dense = nn.Dense(self.features, kernel_init=init, dtype=self.dtype, name='dense')
        return {'hidden': nn.relu(dense(x))}


class PlainConvolutions(Network):
    """Convolutions, one dense layer and the head: what Yosinski et al. 2014 cut, but smaller.

    Every layer but the head is a block, so that `anb:3` copies three layers. The first two
    convolutions halve height and width.

    >>> PlainConvolutions(widths=(8, 16), dense=32).stages
    ('block_00', 'block_01', 'block_02', 'head')
    """

    widths: tuple[int, ...] = (16, 32, 32, 32)
    dense: int = 64
    image_size: int = 16
    channels: int = 3
    num_classes: int = 10
    dtype: str = 'float32'

    @property
    def stages(self) -> tuple[str, ...]:
        """The layers and, where there are classes, the head."""
        layers = [f'block_{n:02d}' for n in range(len(self.widths) + 1)]
        return (*layers, *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        """One of the layers."""
        if name == 'head':
            return partial(Head, self.num_classes)
        index = int(name.removeprefix('block_'))
        if index == len(self.widths):
            return partial(Dense, self.dense, self.dtype)
        return partial(Layer, self.widths[index], index < 2, self.dtype)

    def example_input(self, batch_size: int = 1) -> Any:
        """Zeros, (batch_size, height, width, channels) float32."""
        return jnp.zeros((batch_size, self.image_size, self.image_size, self.channels))
