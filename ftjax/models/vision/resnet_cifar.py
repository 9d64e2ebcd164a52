"""The CIFAR ResNets of He et al. (2016): pre-activation with GroupNorm, and with BatchNorm."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.models.layers.batch_norm import BatchNorm
from ftjax.models.layers.convolution import conv3x3
from ftjax.models.layers.group_norm import GroupNorm
from ftjax.models.layers.heads import Head
from ftjax.models.stage_names import block_names
from ftjax.models.stages import Mode, Network


class CifarResNet(Network):
    """What both variants share: three groups of blocks of rising width and falling size."""

    depth: int = 26
    width: int = 16
    image_size: int = 32
    channels: int = 3
    num_classes: int = 10
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        if (self.depth - 2) % 6:
            raise UserError(f'cifar resnet: depth {self.depth} is not 6n + 2')

    @property
    def blocks(self) -> tuple[str, ...]:
        return block_names([(self.depth - 2) // 6] * 3)

    def shape_of(self, block: str) -> tuple[int, int]:
        """(channels out, stride) of a block."""
        stage, index = int(block[5]), int(block.split('block')[1])
        return self.width << (stage - 1), 2 if stage > 1 and index == 0 else 1

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, self.image_size, self.image_size, self.channels))


class ResNetGroupNorm(CifarResNet):
    """Pre-activation, GroupNorm: stages `stem, stage1_block0 .., norm, head`.

    The shortcut of a block with stride 2 is a 2x2 average pool with zeros appended to double
    the channels. `norm` also pools: what reaches the head is (batch, 4 width).

    >>> ResNetGroupNorm(depth=8).stages
    ('stem', 'stage1_block0', 'stage2_block0', 'stage3_block0', 'norm', 'head')
    """

    groups: int = 8

    @property
    def stages(self) -> tuple[str, ...]:
        return ('stem', *self.blocks, 'norm', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'stem':
            return partial(GroupNormStem, self.width, self.dtype)
        if name == 'norm':
            return partial(GroupNormPool, self.groups, self.dtype)
        if name == 'head':
            return partial(Head, self.num_classes)
        features, stride = self.shape_of(name)
        return partial(PreActivationBlock, features, stride, self.groups, self.dtype)


class ResNetBatchNorm(CifarResNet):
    """Post-activation, BatchNorm, option-A shortcuts: stages `stem, stage1_block0 .., pool, head`.

    The shortcut of a block with stride 2 takes every second pixel and pads the channels with
    zeros on both sides. `pool` has no parameters.
    """

    depth: int = 20

    @property
    def stages(self) -> tuple[str, ...]:
        return ('stem', *self.blocks, 'pool', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'stem':
            return partial(BatchNormStem, self.width, self.dtype)
        if name == 'pool':
            return MeanPool
        if name == 'head':
            return partial(Head, self.num_classes)
        features, stride = self.shape_of(name)
        return partial(PostActivationBlock, features, stride, self.dtype)


class GroupNormStem(nn.Module):
    """The first convolution; the norm comes with the next block."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        return {'hidden': conv3x3(self.width, 1, 'conv', self.dtype)(images.astype(self.dtype))}


class BatchNormStem(nn.Module):
    """The first convolution, its norm and activation."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        x = conv3x3(self.width, 1, 'conv', self.dtype)(images.astype(self.dtype))
        return {'hidden': nn.relu(BatchNorm(dtype=self.dtype, name='norm')(x, mode))}


class PreActivationBlock(nn.Module):
    """norm, relu, conv, norm, relu, conv, plus the shortcut."""

    features: int
    stride: int
    groups: int
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = shortcut = state['hidden']
        for index, stride in ((1, self.stride), (2, 1)):
            norm = GroupNorm(self.groups, dtype=self.dtype, name=f'norm{index}')
            x = conv3x3(self.features, stride, f'conv{index}', self.dtype)(nn.relu(norm(x)))
        if self.stride > 1:
            shortcut = nn.avg_pool(shortcut, (2, 2), (2, 2))
            missing = self.features - shortcut.shape[-1]
            shortcut = jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (0, missing)))
        return {**state, 'hidden': x + shortcut}


class PostActivationBlock(nn.Module):
    """conv, norm, relu, conv, norm, plus the shortcut, relu."""

    features: int
    stride: int
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = shortcut = state['hidden']
        for index, stride in ((1, self.stride), (2, 1)):
            x = conv3x3(self.features, stride, f'conv{index}', self.dtype)(x)
            x = BatchNorm(dtype=self.dtype, name=f'norm{index}')(x, mode)
            x = nn.relu(x) if index == 1 else x
        if self.stride > 1:
            side = (self.features - shortcut.shape[-1]) // 2
            shortcut = jnp.pad(shortcut[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (side, side)))
        return {**state, 'hidden': nn.relu(x + shortcut)}


class GroupNormPool(nn.Module):
    """Final norm, activation and mean over the image: (batch, h, w, c) -> (batch, c)."""

    groups: int
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        norm = GroupNorm(self.groups, dtype=self.dtype, name='norm')
        return {'hidden': mean_over_image(nn.relu(norm(state['hidden'])))}


class MeanPool(nn.Module):
    """Mean over the image: (batch, h, w, c) -> (batch, c)."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        return {'hidden': mean_over_image(state['hidden'])}


def mean_over_image(x: jax.Array) -> jax.Array:
    """(batch, h, w, c) -> (batch, c)."""
    return x.mean(axis=(1, 2))
