"""Vision transformers (Dosovitskiy et al. 2021), pre-norm, with learned positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError, check_name
from ftjax.models.layers.attention import SelfAttention
from ftjax.models.layers.heads import pair
from ftjax.models.layers.mlp import DropPath, LayerScale, Mlp, layer_norm
from ftjax.models.layers.patches import PatchProjection
from ftjax.models.layers.pixel_heads import NormMap, as_map
from ftjax.models.stages import Mode
from ftjax.models.vision.image_network import ImageNetwork


class ViT(ImageNetwork):
    """Stages `embed, block_00 .., norm, head`; input (batch, height, width, channels) float.

    `norm` also pools (class token, or the mean over patches), so what reaches the head, and
    what a head-only run caches, is one vector an example. Before a head of every position it
    passes on the patches' map.

    >>> ViT(depth=2, width=32, heads=2, num_classes=10).stages
    ('embed', 'block_00', 'block_01', 'norm', 'head')
    """

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    channels: int = 3
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_dim: int | None = None
    num_classes: int = 1000
    pool: str = 'cls'
    class_token: bool | None = None
    """Whether there is a class token; None for when the pool needs one."""
    stem: str = 'patch'
    act: str = 'gelu'
    qkv_bias: bool = True
    layer_scale: float | None = None
    epsilon: float = 1e-6
    dropout: float = 0.0
    attention_dropout: float = 0.0
    """Of the attention weights."""
    drop_path: float = 0.0
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        if self.width % self.heads:
            raise UserError(f'vit: width {self.width} is not a multiple of heads {self.heads}')
        check_name(self.pool, self.pools, 'vit pool')
        check_name(self.stem, ('patch', 'conv'), 'vit stem')
        if self.pool == 'cls' and 'cls_token' not in self.prefix_tokens:
            raise UserError('vit: pool cls needs class_token not to be False')
        sizes = list(zip(self.image_hw, self.patch_hw, strict=True))
        if self.stem == 'conv' and any(size % patch for size, patch in sizes):
            raise UserError(
                f'vit: image size {self.image_hw} is not a multiple of the patch {self.patch_hw}, '
                "which stem 'conv' needs"
            )
        if any(size < patch for size, patch in sizes):
            raise UserError(
                f'vit: image size {self.image_hw} is smaller than the patch {self.patch_hw}'
            )

    @property
    def pools(self) -> tuple[str, ...]:
        """The values that `pool` may have in this family."""
        return ('cls', 'mean')

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        """Names of the learned tokens before the patches, which have positions as they do."""
        wanted = self.pool == 'cls' if self.class_token is None else self.class_token
        return ('cls_token',) if wanted else ()

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return pair(self.image_size)

    @property
    def patch_hw(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return pair(self.patch_size)

    @property
    def grid(self) -> tuple[int, int]:
        return self.patch_grid

    @property
    def patch_grid(self) -> tuple[int, int]:
        """(down, across): the patches of an input."""
        return self.image_hw[0] // self.patch_hw[0], self.image_hw[1] // self.patch_hw[1]

    def feature_map(self, hidden):
        return as_map(hidden, self.patch_grid)

    @property
    def noiseless(self) -> bool:
        return not (self.dropout or self.attention_dropout or self.drop_path)

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        return ('embed', *blocks, 'norm', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'embed':
            return partial(
                Embed,
                image_hw=self.image_hw,
                patch_hw=self.patch_hw,
                channels=self.channels,
                width=self.width,
                prefix_tokens=self.prefix_tokens,
                stem=self.stem,
                dropout=self.dropout,
                dtype=self.dtype,
            )
        if name == 'norm' and self.is_dense:
            return partial(NormMap, self.epsilon, self.dtype, self.patch_grid)
        if name == 'norm':
            return partial(NormPool, self.pool, len(self.prefix_tokens), self.epsilon, self.dtype)
        if name == 'head':
            return self.head_stage()
        index = int(name.removeprefix('block_'))
        return partial(
            Block,
            heads=self.heads,
            mlp_dim=self.mlp_dim or 4 * self.width,
            act=self.act,
            qkv_bias=self.qkv_bias,
            layer_scale=self.layer_scale,
            epsilon=self.epsilon,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            drop_path=self.drop_path * index / max(self.depth - 1, 1),
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, *self.image_hw, self.channels), jnp.float32)


class Embed(nn.Module):
    """Patches, tokens and positions: (batch, h, w, channels) -> (batch, tokens, width).

    The order is prefix tokens, registers, patches; registers have no position (Darcet et al.
    2024).
    """

    image_hw: tuple[int, int]
    patch_hw: tuple[int, int]
    channels: int
    width: int
    prefix_tokens: tuple[str, ...]
    stem: str
    dropout: float
    dtype: DTypeLike
    patch_bias: bool = True
    positions: bool = True
    """Whether there is a table of learned positions."""
    registers: int = 0
    norm_epsilon: float | None = None
    """Of a norm after the positions (CLIP); None for no norm."""

    @nn.compact
    def __call__(self, images, mode: Mode):
        expected = (*self.image_hw, self.channels)
        if images.shape[1:] != expected:
            raise UserError(
                f'vit: images of shape {images.shape[1:]} where the network takes {expected}'
            )
        x = images.astype(self.dtype)
        patch = self.patch_hw
        if self.stem == 'conv':
            x, patch = ConvStem(self.width, self.dtype, name='stem')(x, patch)
        project = PatchProjection(
            self.width, patch, use_bias=self.patch_bias, dtype=self.dtype, name='patch_embed'
        )
        x = project(x)
        x = x.reshape(x.shape[0], -1, self.width)
        prefix = [self.tokens(name, 1, x) for name in self.prefix_tokens]
        x = jnp.concatenate([*prefix, x], axis=1)
        if self.positions:
            shape = (1, x.shape[1], self.width)
            positions = self.param('pos_embed', nn.initializers.normal(0.02), shape)
            x = x + positions.astype(x.dtype)
        if self.registers:
            registers, first = self.tokens('register_tokens', self.registers, x), len(prefix)
            x = jnp.concatenate([x[:, :first], registers, x[:, first:]], axis=1)
        if self.norm_epsilon is not None:
            x = layer_norm('norm', self.norm_epsilon, self.dtype)(x)
        return {'hidden': nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)}

    def tokens(self, name, count, x):
        """Learned tokens, the same for every example: (batch, count, width)."""
        tokens = self.param(name, nn.initializers.zeros, (1, count, self.width))
        return jnp.broadcast_to(tokens, (x.shape[0], count, self.width)).astype(x.dtype)


class ConvStem(nn.Module):
    """Strided 3x3 convolutions that halve the image while the patch allows it.

    A convolutional stem trains better from little data than one large patch (Xiao et al.
    2021); LayerNorm over channels replaces their BatchNorm, so there are no statistics.
    Returns the feature map and what is left of the patch size.
    """

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x, patch):
        layer = 0
        while patch[0] % 2 == 0 and patch[1] % 2 == 0:
            features = max(self.width >> (2 if layer == 0 else 1), 8)
            x = nn.Conv(
                features, (3, 3), strides=2, use_bias=False, dtype=self.dtype, name=f'conv{layer}'
            )(x)
            x = nn.relu(layer_norm(f'norm{layer}', 1e-6, self.dtype)(x))
            layer, patch = layer + 1, (patch[0] // 2, patch[1] // 2)
        return x, patch


class Block(nn.Module):
    """A pre-norm transformer block: (batch, tokens, width) in and out."""

    heads: int
    mlp_dim: int
    act: str
    qkv_bias: bool | tuple[bool, bool, bool]
    layer_scale: float | None
    epsilon: float
    dropout: float
    attention_dropout: float
    drop_path: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        for index, branch in enumerate((self.attention, self.mlp), start=1):
            y = branch(layer_norm(f'norm{index}', self.epsilon, self.dtype)(x), mode)
            if self.layer_scale is not None:
                y = LayerScale(self.layer_scale, name=f'ls{index}')(y)
            x = x + DropPath(self.drop_path)(y, mode)
        return {**state, 'hidden': x}

    def attention(self, x, mode):
        return self.self_attention()(x, mode)

    def self_attention(self, **fields):
        """The layer; a family of another kind of attention gives more fields."""
        return SelfAttention(
            self.heads,
            self.qkv_bias,
            dropout=self.dropout,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
            name='attn',
            **fields,
        )

    def mlp(self, x, mode):
        return Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, name='mlp')(x, mode)


class NormPool(nn.Module):
    """Final norm and pooling: (batch, tokens, width) -> (batch, width)."""

    pool: str
    prefix: int
    """Tokens before the patches: the mean leaves them out."""
    epsilon: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        if self.pool == 'cls':  # the norm is a token's own affair: normalise the one kept
            x = layer_norm('norm', self.epsilon, self.dtype)(x[:, 0])
        else:
            x = layer_norm('norm', self.epsilon, self.dtype)(x[:, self.prefix :]).mean(axis=1)
        return {'hidden': x}
