"""One network twice: an NNX model as somebody else would write it, and its twin in linen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from ftjax.models.layers.attention import attend
from ftjax.models.stages import Mode, Network


class Attention(nnx.Module):
    """Self-attention, by the same products as that of ftjax."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key = nnx.Linear(width, width, rngs=rngs)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        def parted(layer: nnx.Linear) -> jax.Array:
            return layer(x).reshape(*x.shape[:2], self.heads, -1)

        mixed = attend(parted(self.query), parted(self.key), parted(self.value))
        return self.out(mixed.reshape(x.shape))


class Mlp(nnx.Module):
    """Two dense layers."""

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(width, hidden, rngs=rngs)
        self.fc2 = nnx.Linear(hidden, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=True))


class Block(nnx.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, dropout: float, *, rngs: nnx.Rngs):
        norm = partial(nnx.LayerNorm, width, epsilon=1e-6, use_fast_variance=False, rngs=rngs)
        self.norm1, self.norm2 = norm(), norm()
        self.attn = Attention(width, heads, rngs=rngs)
        self.mlp = Mlp(width, 4 * width, rngs=rngs)
        self.drop = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class ViT(nnx.Module):
    """A vision transformer with a class token."""

    def __init__(
        self,
        image: int = 8,
        patch: int = 4,
        channels: int = 3,
        width: int = 8,
        depth: int = 2,
        heads: int = 2,
        classes: int = 3,
        dropout: float = 0.0,
        *,
        rngs: nnx.Rngs,
    ):
        self.patch = patch
        self.patch_embed = nnx.Linear(patch * patch * channels, width, rngs=rngs)
        tokens = (image // patch) ** 2 + 1
        self.cls_token = nnx.Param(jnp.zeros((1, 1, width)))
        self.pos_embed = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, tokens, width)))
        self.blocks = nnx.List([Block(width, heads, dropout, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, epsilon=1e-6, use_fast_variance=False, rngs=rngs)
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def embed(self, images: jax.Array) -> jax.Array:
        """(batch, h, w, channels) -> (batch, tokens, width)."""
        batch, height, width, channels = images.shape
        x = images.reshape(batch, height // self.patch, self.patch, width // self.patch, -1)
        x = x.reshape(*x.shape[:4], self.patch, channels).transpose(0, 1, 3, 2, 4, 5)
        x = self.patch_embed(x.reshape(batch, -1, self.patch**2 * channels))
        token = jnp.broadcast_to(self.cls_token[...], (batch, 1, x.shape[-1]))
        return jnp.concatenate([token, x], axis=1) + self.pos_embed[...]

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def vit_stages(depth: int) -> dict[str, Any]:
    """The stages of a ViT, for `from_nnx`."""
    blocks = {f'block_{i:02d}': f'blocks.{i}' for i in range(depth)}
    ends = {'norm': lambda model, x: model.norm(x[:, 0]), 'head': 'head'}
    return {'embed': lambda model, x: model.embed(x), **blocks, **ends}


def linen_vit_leaf(key: str, leaf: jax.Array, patch: int) -> tuple[str, jax.Array]:
    """Name and value of a leaf in the ViT of ftjax."""
    if key == 'embed/patch_embed/kernel':
        leaf = leaf.reshape(patch, patch, -1, leaf.shape[-1])
    if key.startswith('norm/'):
        key = key.replace('norm/', 'norm/norm/')
    return key.replace('head/', 'head/dense/'), leaf


class ConvBlock(nnx.Module):
    """Two convolutions with BatchNorm, and the shortcut."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        conv = partial(nnx.Conv, width, width, (3, 3), use_bias=False, rngs=rngs)
        norm = partial(nnx.BatchNorm, width, momentum=0.9, use_fast_variance=False, rngs=rngs)
        self.conv1, self.conv2, self.bn1, self.bn2 = conv(), conv(), norm(), norm()

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.bn1(self.conv1(x)))
        return nnx.relu(x + self.bn2(self.conv2(y)))


class ResNet(nnx.Module):
    """A small residual network."""

    def __init__(self, channels: int, width: int, depth: int, classes: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(channels, width, (3, 3), use_bias=False, rngs=rngs)
        self.blocks = nnx.List([ConvBlock(width, rngs=rngs) for _ in range(depth)])
        self.classifier = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.conv(images)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((1, 2)))


def resnet_stages(depth: int) -> dict[str, Any]:
    """The stages of a ResNet, for `from_nnx`."""
    blocks = {f'block_{i:02d}': f'blocks.{i}' for i in range(depth)}
    pool = {'pool': lambda model, x: x.mean((1, 2))}
    return {'stem': 'conv', **blocks, **pool, 'head': 'classifier'}


class LinenResNet(Network):
    """The twin of `ResNet`, leaf by leaf."""

    channels: int = 3
    width: int = 8
    depth: int = 2
    num_classes: int = 3
    image_size: int = 8

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        return ('stem', *blocks, 'pool', 'head')

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        ends = {'stem': partial(Stem, self.width), 'pool': Pool}
        if name == 'head':
            return partial(Classifier, self.num_classes)
        return ends.get(name, partial(LinenConvBlock, self.width))

    def example_input(self, batch_size: int = 1) -> jax.Array:
        return jnp.zeros((batch_size, self.image_size, self.image_size, self.channels))


class Stem(nn.Module):
    """The first convolution."""

    width: int

    @nn.compact
    def __call__(self, images, mode: Mode):
        kernel = nn.initializers.lecun_normal()
        shape = (3, 3, images.shape[-1], self.width)
        return {'hidden': convolved(images, self.param('kernel', kernel, shape))}


class LinenConvBlock(nn.Module):
    """The twin of `ConvBlock`."""

    width: int

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = y = state['hidden']
        for number in (1, 2):
            y = nn.Conv(self.width, (3, 3), use_bias=False, name=f'conv{number}')(y)
            y = nn.BatchNorm(
                use_running_average=not mode.batch_stats,
                momentum=0.9,
                use_fast_variance=False,
                name=f'bn{number}',
            )(y)
            y = nn.relu(y) if number == 1 else y
        return {'hidden': nn.relu(x + y)}


class Pool(nn.Module):
    """The mean over the image."""

    def __call__(self, state, mode: Mode):
        return {'hidden': state['hidden'].mean((1, 2))}


class Classifier(nn.Module):
    """A dense layer."""

    classes: int

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        kernel = self.param('kernel', nn.initializers.lecun_normal(), (x.shape[-1], self.classes))
        return x @ kernel + self.param('bias', nn.initializers.zeros, (self.classes,))


def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 1, padded to keep the size."""
    layout = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=layout)
