"""EfficientNet (Tan and Le 2019): inverted bottlenecks with depthwise convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError, check_name
from ftjax.models.layers.batch_norm import BatchNorm
from ftjax.models.layers.depthwise import DepthwiseConv
from ftjax.models.layers.heads import pair
from ftjax.models.layers.mlp import activation
from ftjax.models.stage_names import block_names, place
from ftjax.models.stages import Mode, Network

STEM, TOP = 32, 1280
"""Channels of the stem and of the last convolution, before `width_factor`."""


class EfficientNet(Network):
    """Stages `stem, stage1_block0 .., top[, head]`; input (batch, height, width, channels) float.

    The defaults are EfficientNet-B0; the larger ones have `width_factor` and `depth_factor`.
    `top` is a last convolution and the pooling. `image_size` only serves to make example inputs.

    >>> EfficientNet(
    ...     repeats=(1, 2),
    ...     widths=(8, 16),
    ...     entries=(32, 8),
    ...     kernels=(3, 5),
    ...     strides=(1, 2),
    ...     expansions=(1, 6),
    ...     num_classes=10,
    ... ).stages
    ('stem', 'stage1_block0', 'stage2_block0', 'stage2_block1', 'top', 'head')
    """

    width_factor: float = 1.0
    depth_factor: float = 1.0
    divisor: int = 8
    """Channels are multiples of it."""
    repeats: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    """Blocks a stage, before `depth_factor`."""
    entries: tuple[int, ...] = (32, 16, 24, 40, 80, 112, 192)
    """Channels that enter each stage, before `width_factor`."""
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    """Channels that leave each stage, before `width_factor`."""
    kernels: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    squeeze: float = 0.25
    """Channels of squeeze-and-excitation, as a share of those that enter a block."""
    even_blocks: tuple[int, ...] = ()
    """Blocks, counted from 0 over all stages, that pad alike on both sides where they shrink the
    image; the others pad one more below and to the right."""
    act: str = 'silu'
    pool: str = 'mean'
    """'mean' or 'max'."""
    epsilon: float = 1e-3
    momentum: float = 0.01
    """Weight of a new batch in the running statistics, but for those of an expansion."""
    expansion_momentum: float = 0.1
    """Of those: in transformers PyTorch's own, in timm no other than of the rest."""
    dropout: float = 0.0
    """On what blocks beside a shortcut give, growing from 0 with depth."""
    head_dropout: float = 0.2
    image_size: int | tuple[int, int] = 224
    channels: int = 3
    num_classes: int = 1000
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        check_name(self.pool, ('mean', 'max'), 'efficientnet pool')
        lists = (self.entries, self.widths, self.kernels, self.strides, self.expansions)
        if {len(self.repeats)} != set(map(len, lists)) or min(self.repeats, default=0) < 1:
            raise UserError(
                f'efficientnet: repeats {self.repeats}, entries, widths, kernels, strides and '
                'expansions need one number for each stage'
            )
        if any(size % 2 == 0 for size in self.kernels) or set(self.strides) - {1, 2}:
            raise UserError('efficientnet: kernels are odd, and strides 1 or 2')
        before = (STEM, *self.widths)
        if [*map(self.rounded, self.entries)] != [*map(self.rounded, before[:-1])]:
            raise UserError(
                f'efficientnet: entries {self.entries} are not what the stages before give, '
                f'{before[:-1]}'
            )

    def rounded(self, channels: int) -> int:
        """Channels times `width_factor`, as a multiple of `divisor`, at most 10 % fewer."""
        wanted, unit = channels * self.width_factor, self.divisor
        found = max(unit, int(wanted + unit / 2) // unit * unit)
        return found + unit if found < 0.9 * wanted else found

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks a stage."""
        return tuple(math.ceil(self.depth_factor * count) for count in self.repeats)

    @property
    def noiseless(self) -> bool:
        return not (self.dropout or self.head_dropout)

    @property
    def stages(self) -> tuple[str, ...]:
        return ('stem', *block_names(self.depths), 'top', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        norm = partial(BatchNorm, momentum=self.momentum, epsilon=self.epsilon, dtype=self.dtype)
        if name == 'stem':
            return partial(Stem, self.rounded(STEM), norm, self.act, self.dtype)
        if name == 'top':
            return partial(Top, self.rounded(TOP), norm, self.act, self.pool, self.dtype)
        if name == 'head':
            return partial(DropHead, self.num_classes, self.head_dropout)
        stage, index = place(name)
        count, first = self.blocks.index(name), index == 0
        return partial(
            Block,
            width=self.rounded(self.widths[stage]),
            entry=self.rounded(self.entries[stage] if first else self.widths[stage]),
            expansion=self.expansions[stage],
            kernel=self.kernels[stage],
            stride=self.strides[stage] if first else 1,
            shortcut=not first,
            even=count in self.even_blocks,
            squeeze=self.squeeze,
            act=self.act,
            make_norm=norm,
            expansion_momentum=self.expansion_momentum,
            dropout=self.dropout * count / len(self.blocks),
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, *pair(self.image_size), self.channels), jnp.float32)


class Stem(nn.Module):
    """3x3 convolution at stride 2, padded below and to the right, norm and activation."""

    width: int
    make_norm: Callable[..., nn.Module]
    act: str
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        x = nn.Conv(
            self.width,
            (3, 3),
            strides=2,
            padding=((0, 1), (0, 1)),
            use_bias=False,
            dtype=self.dtype,
            name='conv',
        )(images.astype(self.dtype))
        return {'hidden': activation(self.act)(self.make_norm(name='norm')(x, mode))}


class Block(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excitation, projection: (batch, h, w, c)."""

    width: int
    entry: int
    expansion: int
    kernel: int
    stride: int
    shortcut: bool
    even: bool
    squeeze: float
    act: str
    make_norm: Callable[..., nn.Module]
    expansion_momentum: float
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x, act = state['hidden'], activation(self.act)
        wide = self.entry * self.expansion
        y = x
        if self.expansion != 1:
            y = self.pointwise(wide, 'expand')(y)
            norm = self.make_norm(momentum=self.expansion_momentum, name='expand_norm')
            y = act(norm(y, mode))
        y = DepthwiseConv(self.kernel, self.dtype, use_bias=False, name='conv')(y)
        if self.stride == 2:
            # Every other place of the convolution at stride 1: where it starts is the padding.
            start = 0 if self.even else 1
            y = y[:, start::2, start::2]
        y = act(self.make_norm(name='norm')(y, mode))
        narrow = max(1, int(self.entry * self.squeeze))
        y = Excitation(narrow, self.act, self.dtype, name='excite')(y)
        y = self.make_norm(name='project_norm')(self.pointwise(self.width, 'project')(y), mode)
        if self.shortcut:
            y = x + nn.Dropout(self.dropout)(y, deterministic=mode.deterministic)
        return {**state, 'hidden': y}

    def pointwise(self, features, name):
        return nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)


class Excitation(nn.Module):
    """Weighs channels by what the whole image holds (Hu et al. 2018): (batch, h, w, c)."""

    narrow: int
    act: str
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x.mean(axis=(1, 2), keepdims=True)
        y = activation(self.act)(nn.Dense(self.narrow, dtype=self.dtype, name='reduce')(y))
        return x * nn.sigmoid(nn.Dense(x.shape[-1], dtype=self.dtype, name='expand')(y))


class Top(nn.Module):
    """1x1 convolution, norm, activation and pooling: (batch, h, w, c) -> (batch, width)."""

    width: int
    make_norm: Callable[..., nn.Module]
    act: str
    pool: str
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='conv')(state['hidden'])
        x = activation(self.act)(self.make_norm(name='norm')(x, mode))
        if self.pool == 'mean':
            return {'hidden': x.mean(axis=(1, 2))}
        # Not `max`, whose gradient looks for the places that equal it: where a compiler computes
        # `x` twice, rounded in two ways, it finds none, and the gradient is zero.
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        place = x.argmax(axis=1, keepdims=True)
        return {'hidden': jnp.take_along_axis(x, place, axis=1)[:, 0]}


class DropHead(nn.Module):
    """Dropout and the classifier: (batch, width) -> logits (batch, num_classes), float32."""

    num_classes: int
    dropout: float

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden'].astype(jnp.float32)
        x = nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)
        init = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=init, name='dense')(x)
