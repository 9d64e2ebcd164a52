"""Swin transformers (Liu et al. 2021): attention in windows that shift from block to block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.models.layers.attention import SelfAttention
from ftjax.models.layers.heads import pair
from ftjax.models.layers.image_windows import (
    RelativeBias,
    from_windows,
    pad_to_multiple,
    shift_mask,
    to_windows,
)
from ftjax.models.layers.mlp import DropPath, Mlp, layer_norm
from ftjax.models.layers.pixel_heads import NormMap
from ftjax.models.stage_names import block_names, place
from ftjax.models.stages import Mode
from ftjax.models.vision.image_network import ImageNetwork

# The norms of the patches and of their merging, whatever `epsilon` says, as in the original.
INNER_EPSILON = 1e-5


class Swin(ImageNetwork):
    """Stages `embed, stage1_block0 .., norm, head`; input (batch, height, width, channels) float.

    The defaults are Swin-T. Hidden states keep the shape of the image, (batch, h, w, c). The
    first block of each stage but the first halves it and doubles the channels (`downsample`).
    Sizes that windows do not divide are padded. `norm` also pools.

    >>> Swin(depths=(1, 1), heads=(1, 2), width=8, window=2, image_size=16).stages
    ('embed', 'stage1_block0', 'stage2_block0', 'norm', 'head')
    """

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 4
    channels: int = 3
    width: int = 96
    """Channels of the first stage."""
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    act: str = 'gelu'
    qkv_bias: bool = True
    absolute_positions: bool = False
    epsilon: float = 1e-5
    dropout: float = 0.0
    attention_dropout: float = 0.0
    """Of the attention weights."""
    drop_path: float = 0.0
    """Stochastic depth of attention and of the MLP, as in the original; transformers' SwinLayer
    drops attention alone."""
    num_classes: int = 1000
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        if len(self.depths) != len(self.heads) or min(self.depths) < 1:
            raise UserError(f'swin: depths {self.depths} do not go with heads {self.heads}')
        for stage, heads in enumerate(self.heads):
            if (self.width << stage) % heads:
                raise UserError(
                    f'swin: stage {stage + 1} has {self.width << stage} channels, '
                    f'not a multiple of its {heads} heads'
                )
        self.check_windows()

    def check_windows(self) -> None:
        """Raises UserError where an image has less than one window."""
        if min(self.grid_of(len(self.depths) - 1)) < self.window:
            raise UserError(
                f'swin: the last stage sees {self.grid_of(len(self.depths) - 1)} positions of an '
                f'image of {pair(self.image_size)}, less than one window of {self.window}'
            )

    @property
    def grid(self) -> tuple[int, int] | None:
        return self.grid_of(0) if self.absolute_positions else None

    @property
    def noiseless(self) -> bool:
        return not (self.dropout or self.attention_dropout or self.drop_path)

    def grid_of(self, stage: int) -> tuple[int, int]:
        """Positions down and across in a stage, from 0."""
        sizes = zip(pair(self.image_size), pair(self.patch_size), strict=True)
        down, across = (-(-size // (patch << stage)) for size, patch in sizes)
        return down, across

    @property
    def stages(self) -> tuple[str, ...]:
        return (
            'embed',
            *block_names(self.depths),
            'norm',
            *(('head',) if self.num_classes else ()),
        )

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'embed':
            return partial(
                Embed,
                image_hw=pair(self.image_size),
                patch_hw=pair(self.patch_size),
                channels=self.channels,
                width=self.width,
                positions=self.absolute_positions,
                dropout=self.dropout,
                dtype=self.dtype,
            )
        if name == 'norm' and self.is_dense:
            return partial(NormMap, self.epsilon, self.dtype)
        if name == 'norm':
            return partial(NormMean, self.epsilon, self.dtype)
        if name == 'head':
            return self.head_stage()
        stage, index = place(name)
        # One window covers the whole side: there is nothing to shift it to.
        shifts = index % 2 == 1 and min(self.grid_of(stage)) > self.window
        depth = self.blocks.index(name) / max(len(self.blocks) - 1, 1)
        return partial(
            Block,
            width=self.width << stage,
            downsample=stage > 0 and index == 0,
            heads=self.heads[stage],
            window=self.window,
            shift=self.window // 2 if shifts else 0,
            mlp_dim=int(self.mlp_ratio * (self.width << stage)),
            act=self.act,
            qkv_bias=self.qkv_bias,
            epsilon=self.epsilon,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            drop_path=self.drop_path * depth,
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, *pair(self.image_size), self.channels), jnp.float32)


class Embed(nn.Module):
    """Patches and a norm: (batch, h, w, channels) -> (batch, h / patch, w / patch, width)."""

    image_hw: tuple[int, int]
    patch_hw: tuple[int, int]
    channels: int
    width: int
    positions: bool
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        expected = (*self.image_hw, self.channels)
        if images.shape[1:] != expected:
            raise UserError(
                f'swin: images of shape {images.shape[1:]} where the network takes {expected}'
            )
        x = pad_to_multiple(images.astype(self.dtype), self.patch_hw)
        x = nn.Conv(
            self.width,
            self.patch_hw,
            strides=self.patch_hw,
            padding='VALID',
            dtype=self.dtype,
            name='patch_embed',
        )(x)
        x = layer_norm('norm', INNER_EPSILON, self.dtype)(x)
        if self.positions:
            _, down, across, width = x.shape
            table = self.param('pos_embed', nn.initializers.normal(0.02), (1, down * across, width))
            x = x + table.reshape(1, down, across, width).astype(x.dtype)
        return {'hidden': nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)}


class Downsample(nn.Module):
    """Joins 2x2 neighbours, a norm and a linear map: half the sides, `width` channels."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        x = pad_to_multiple(x, (2, 2))
        corners = [x[:, row::2, col::2] for col in (0, 1) for row in (0, 1)]
        x = layer_norm('norm', INNER_EPSILON, self.dtype)(jnp.concatenate(corners, axis=-1))
        return nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='reduction')(x)


class Block(nn.Module):
    """Pre-norm attention within windows, then a perceptron: (batch, h, w, width) out."""

    width: int
    downsample: bool
    heads: int
    window: int
    shift: int
    mlp_dim: int
    act: str
    qkv_bias: bool
    epsilon: float
    dropout: float
    attention_dropout: float
    drop_path: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        if self.downsample:
            x = Downsample(self.width, self.dtype, name='downsample')(x)
        y = layer_norm('norm1', self.epsilon, self.dtype)(x)
        x = x + DropPath(self.drop_path)(self.attention(y, mode), mode)
        y = layer_norm('norm2', self.epsilon, self.dtype)(x)
        y = Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, name='mlp')(y, mode)
        return {**state, 'hidden': x + DropPath(self.drop_path)(y, mode)}

    def attention(self, x, mode):
        height, width = x.shape[1:3]
        x = pad_to_multiple(x, (self.window, self.window))
        padded = (x.shape[1], x.shape[2])
        bias = self.offsets()
        if self.shift:
            x = jnp.roll(x, (-self.shift, -self.shift), axis=(1, 2))
            mask = shift_mask(*padded, self.window, self.shift)
            # Windows of one image lie side by side in the batch, images one after another.
            bias = jnp.tile(bias + mask[:, None], (x.shape[0], 1, 1, 1))
        y = self.in_windows(to_windows(x, self.window), mode, bias)
        y = from_windows(y, self.window, padded)
        if self.shift:
            y = jnp.roll(y, (self.shift, self.shift), axis=(1, 2))
        return y[:, :height, :width]

    def offsets(self):
        """What is added to the scores of each pair of places: (heads, places, places)."""
        return RelativeBias(self.window, self.heads, name='attn_bias')()

    def in_windows(self, x, mode, bias):
        """Attention of windows (.., places, width), each by itself."""
        attn = SelfAttention(
            self.heads,
            self.qkv_bias,
            dropout=self.dropout,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
            name='attn',
        )
        return attn(x, mode, bias=bias)


class NormMean(nn.Module):
    """Final norm and mean over the image: (batch, h, w, c) -> (batch, c)."""

    epsilon: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = layer_norm('norm', self.epsilon, self.dtype)(state['hidden'])
        return {'hidden': x.mean(axis=(1, 2))}
