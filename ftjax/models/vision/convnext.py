"""ConvNeXt (Liu et al. 2022) and ConvNeXt V2 (Woo et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.models.layers.depthwise import DepthwiseConv
from ftjax.models.layers.heads import pair
from ftjax.models.layers.mlp import DropPath, LayerScale, Mlp, layer_norm
from ftjax.models.layers.pixel_heads import NormMap
from ftjax.models.stage_names import block_names, place
from ftjax.models.stages import Mode
from ftjax.models.vision.image_network import ImageNetwork


class ConvNeXt(ImageNetwork):
    """Stages `stem, stage1_block0 .., norm, head`; input (batch, height, width, channels) float.

    The defaults are ConvNeXt-T. The first block of each stage but the first halves the image
    (`downsample`). `norm` pools, then normalises: what reaches the head is (batch, widths[-1]).

    >>> ConvNeXt(depths=(1, 1), widths=(8, 16), num_classes=10).stages
    ('stem', 'stage1_block0', 'stage2_block0', 'norm', 'head')
    """

    response_norm: ClassVar[bool] = False
    """Whether blocks have global response normalisation."""
    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    patch_size: int = 4
    act: str = 'gelu'
    layer_scale: float | None = 1e-6
    epsilon: float = 1e-6
    """Of the last norm."""
    inner_epsilon: float = 1e-6
    """Of the norms before the last."""
    drop_path: float = 0.0
    image_size: int | tuple[int, int] = 224
    channels: int = 3
    num_classes: int = 1000
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        if len(self.depths) != len(self.widths) or min(self.depths) < 1:
            raise UserError(f'convnext: depths {self.depths} do not go with widths {self.widths}')

    @property
    def stages(self) -> tuple[str, ...]:
        return ('stem', *block_names(self.depths), 'norm', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'stem':
            return partial(Stem, self.widths[0], self.patch_size, self.inner_epsilon, self.dtype)
        if name == 'norm' and self.is_dense:
            return partial(NormMap, self.epsilon, self.dtype)
        if name == 'norm':
            return partial(PoolNorm, self.epsilon, self.dtype)
        if name == 'head':
            return self.head_stage()
        stage, index = place(name)
        depth = self.blocks.index(name) / max(len(self.blocks) - 1, 1)
        return partial(
            Block,
            width=self.widths[stage],
            downsample=stage > 0 and index == 0,
            act=self.act,
            layer_scale=self.layer_scale,
            response_norm=self.response_norm,
            epsilon=self.inner_epsilon,
            drop_path=self.drop_path * depth,
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, *pair(self.image_size), self.channels), jnp.float32)


class ConvNeXtV2(ConvNeXt):
    """Stages `stem, stage1_block0 .., norm, head`; response normalisation, no LayerScale.

    >>> ConvNeXtV2(depths=(1, 1), widths=(8, 16), num_classes=10).stages
    ('stem', 'stage1_block0', 'stage2_block0', 'norm', 'head')
    """

    response_norm: ClassVar[bool] = True
    layer_scale: float | None = None


class Stem(nn.Module):
    """Patches and a norm: (batch, h, w, channels) -> (batch, h / patch, w / patch, width)."""

    width: int
    patch: int
    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        x = patches(self.width, self.patch, self.dtype)(images.astype(self.dtype))
        return {'hidden': layer_norm('norm', self.epsilon, self.dtype)(x)}


def patches(features: int, size: int, dtype: str) -> nn.Conv:
    """A convolution over patches that do not overlap; what is left over at the edges is cut."""
    return nn.Conv(features, (size, size), strides=size, padding='VALID', dtype=dtype, name='conv')


class Downsample(nn.Module):
    """A norm and 2x2 patches: half the height and width."""

    width: int
    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, x):
        return patches(self.width, 2, self.dtype)(layer_norm('norm', self.epsilon, self.dtype)(x))


class Block(nn.Module):
    """7x7 depthwise convolution, norm, perceptron, beside the identity."""

    width: int
    downsample: bool
    act: str
    layer_scale: float | None
    response_norm: bool
    epsilon: float
    drop_path: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        if self.downsample:
            x = Downsample(self.width, self.epsilon, self.dtype, name='downsample')(x)
        y = DepthwiseConv(7, self.dtype, name='conv')(x)
        y = layer_norm('norm', self.epsilon, self.dtype)(y)
        mlp = Mlp(
            4 * self.width,
            self.act,
            dtype=self.dtype,
            response_norm=self.response_norm,
            name='mlp',
        )
        y = mlp(y, mode)
        if self.layer_scale is not None:
            y = LayerScale(self.layer_scale, name='ls')(y)
        return {**state, 'hidden': x + DropPath(self.drop_path)(y, mode)}


class PoolNorm(nn.Module):
    """Mean over the image, then the final norm: (batch, h, w, c) -> (batch, c)."""

    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden'].mean(axis=(1, 2))
        return {'hidden': layer_norm('norm', self.epsilon, self.dtype)(x)}
