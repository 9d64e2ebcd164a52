"""Swin V2 (Liu et al. 2022): cosine attention, scores from a network of offsets, norms last."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ftjax.errors import UserError
from ftjax.models.layers.attention import attend, weight_dropout
from ftjax.models.layers.heads import pair
from ftjax.models.layers.image_windows import pad_to_multiple
from ftjax.models.layers.mlp import DropPath, Mlp, layer_norm
from ftjax.models.stage_names import place
from ftjax.models.stages import Mode
from ftjax.models.vision.swin import INNER_EPSILON, Block, Swin

LARGEST = math.log(100)
"""Of the logarithm of what cosines are multiplied by."""
HIDDEN = 512


class SwinV2(Swin):
    """Stages `embed, stage1_block0 .., norm, head`; input (batch, height, width, channels) float.

    As Swin, but that a norm follows each branch of a block, and that a window as large as the
    image is cut to it. Scores of offsets come from a small network, so that windows may grow.

    >>> SwinV2(depths=(1, 1), heads=(1, 2), width=8, window=2, image_size=16).stages
    ('embed', 'stage1_block0', 'stage2_block0', 'norm', 'head')
    """

    pretrained_windows: tuple[int, ...] = (0, 0, 0, 0)
    """The window of each stage that offsets are measured by; 0 for its own."""

    def check_windows(self) -> None:
        if len(self.pretrained_windows) < len(self.depths):
            raise UserError(
                f'swinv2: pretrained_windows {self.pretrained_windows} for {len(self.depths)} '
                'stages'
            )
        if self.absolute_positions:
            raise UserError('swinv2: there are no absolute_positions')
        if self.window_of(len(self.depths) - 1) < 1:
            raise UserError(f'swinv2: an image of {pair(self.image_size)} is too small')

    def window_of(self, stage: int) -> int:
        """The window of a stage, from 0: no larger than the image there, rounded down."""
        height, patch = pair(self.image_size)[0], pair(self.patch_size)[0]
        return min(self.window, height // patch >> stage)

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage_of = super().make_stage(name)
        if name in ('embed', 'norm', 'head'):
            return stage_of
        assert isinstance(stage_of, partial)  # of Swin's block: its fields are among these
        stage, index = place(name)
        window = self.window_of(stage)
        rows = pair(self.image_size)[0] // pair(self.patch_size)[0] >> stage
        fields = {
            **stage_of.keywords,
            'window': window,
            'shift': self.window // 2 if index % 2 and rows > window else 0,
        }
        return partial(CosineBlock, **fields, measure=self.pretrained_windows[stage] or window)


class CosineBlock(Block):
    """Attention within windows, then a perceptron, each with a norm after it."""

    measure: int

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        if self.downsample:
            x = Downsample(self.width, self.dtype, name='downsample')(x)
        mlp = Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, name='mlp')
        for index, branch in enumerate((self.attention, mlp), start=1):
            y = layer_norm(f'norm{index}', self.epsilon, self.dtype)(branch(x, mode))
            x = x + DropPath(self.drop_path)(y, mode)
        return {**state, 'hidden': x}

    def offsets(self):
        return OffsetNetwork(self.window, self.measure, self.heads, name='attn_bias')()

    def in_windows(self, x, mode, bias):
        attn = CosineAttention(
            self.heads, self.qkv_bias, self.attention_dropout, self.dtype, name='attn'
        )
        return attn(x, mode, bias)


class Downsample(nn.Module):
    """Joins 2x2 neighbours, a linear map and a norm: half the sides, `width` channels."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        x = pad_to_multiple(x, (2, 2))
        corners = [x[:, row::2, col::2] for col in (0, 1) for row in (0, 1)]
        x = jnp.concatenate(corners, axis=-1)
        x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='reduction')(x)
        return layer_norm('norm', INNER_EPSILON, self.dtype)(x)


class CosineAttention(nn.Module):
    """Attention by cosines times a learned number a head: (batch, time, width) in and out."""

    heads: int
    qkv_bias: bool
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, x, mode: Mode, bias):
        batch, time, width = x.shape
        depth = width // self.heads

        def project(name, use_bias):
            dense = nn.Dense(width, use_bias=use_bias, dtype=self.dtype, name=name)
            return dense(x).reshape(batch, time, self.heads, depth)

        query, key = project('query', self.qkv_bias), project('key', False)
        initial = nn.initializers.constant(math.log(10))
        scale = self.param('logit_scale', initial, (self.heads, 1, 1))
        factor = jnp.exp(jnp.minimum(scale, LARGEST)).reshape(1, 1, self.heads, 1)
        # `attend` divides by the root of the depth.
        query = (unit(query) * (factor * depth**0.5)).astype(query.dtype)
        value = project('value', self.qkv_bias)
        drop = weight_dropout(self.dropout, mode)
        out = attend(query, unit(key), value, bias=bias, drop=drop).reshape(batch, time, width)
        out = nn.Dense(width, dtype=self.dtype, name='out')(out)
        return nn.Dropout(self.dropout)(out, deterministic=mode.deterministic)


def unit(x: jax.Array) -> jax.Array:
    """Vectors of length 1 along the last axis."""
    square = jnp.square(x.astype(jnp.float32)).sum(-1, keepdims=True)
    return (x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))).astype(x.dtype)


class OffsetNetwork(nn.Module):
    """Scores of offsets within a window from a small network: (1, heads, positions, positions)."""

    window: int
    measure: int
    heads: int

    @nn.compact
    def __call__(self):
        x = nn.relu(nn.Dense(HIDDEN, name='fc1')(measured_offsets(self.window, self.measure)))
        table = nn.Dense(self.heads, use_bias=False, name='fc2')(x)
        place_of = np.stack(np.divmod(np.arange(self.window**2), self.window))
        down, across = place_of[:, :, None] - place_of[:, None, :] + self.window - 1
        chosen = table[down * (2 * self.window - 1) + across]
        return 16 * jax.nn.sigmoid(chosen).transpose(2, 0, 1)[None]


def measured_offsets(window: int, measure: int) -> np.ndarray:
    """(offsets, 2) float32: down and across in units of a window, on a logarithmic scale."""
    line = np.arange(1 - window, window, dtype=np.float64)
    line = 8 * line / (measure - 1) if measure > 1 else 8 * line
    line = np.sign(line) * np.log2(np.abs(line) + 1) / np.log2(8)
    both = np.stack(np.meshgrid(line, line, indexing='ij'), axis=-1)
    return both.reshape(-1, 2).astype(np.float32)
