"""ResNets with BatchNorm (He et al. 2016): 18, 34 (basic), 50, 101, 152 (bottleneck)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError, check_name
from ftjax.models.layers.batch_norm import BatchNorm
from ftjax.models.layers.heads import pair
from ftjax.models.layers.mlp import activation
from ftjax.models.stage_names import block_names, place
from ftjax.models.stages import Mode
from ftjax.models.vision.image_network import ImageNetwork
from ftjax.models.vision.resnet_cifar import MeanPool


class ResNet(ImageNetwork):
    """Stages `stem, stage1_block0 .., pool, head`; input (batch, height, width, channels) float.

    The defaults are ResNet-18; `image_size` only serves to make example inputs. With
    `stride_first` a bottleneck shrinks the image in its first convolution (the paper), else in
    the 3x3 (torchvision, 'v1.5'). Before a head of every position there is no `pool`.

    >>> ResNet(depths=(1, 1), widths=(8, 16), num_classes=10).stages
    ('stem', 'stage1_block0', 'stage2_block0', 'pool', 'head')
    """

    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels that leave each stage: for bottlenecks (256, 512, 1024, 2048)."""
    stem_width: int = 64
    block: str = 'basic'
    stride_first: bool = False
    shrink_first_stage: bool = False
    """Whether the first stage halves the image too, as the others do."""
    act: str = 'relu'
    """Of the stem and at the end of each block; inside the blocks it is relu."""
    image_size: int | tuple[int, int] = 224
    channels: int = 3
    num_classes: int = 1000
    dtype: str = 'float32'

    def __post_init__(self):
        super().__post_init__()
        check_name(self.block, ('basic', 'bottleneck'), 'resnet block')
        if len(self.depths) != len(self.widths) or min(self.depths) < 1:
            raise UserError(f'resnet: depths {self.depths} do not go with widths {self.widths}')

    @property
    def stages(self) -> tuple[str, ...]:
        after = () if self.is_dense else ('pool',)
        head = ('head',) if self.num_classes else ()
        return ('stem', *block_names(self.depths), *after, *head)

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'stem':
            return partial(Stem, self.stem_width, self.act, self.dtype)
        if name == 'pool':
            return MeanPool
        if name == 'head':
            return self.head_stage()
        stage, index = place(name)
        entry = self.stem_width if stage == 0 else self.widths[stage - 1]
        shrinks = index == 0 and (stage > 0 or self.shrink_first_stage)
        return partial(
            Bottleneck if self.block == 'bottleneck' else Basic,
            features=self.widths[stage],
            stride=2 if shrinks else 1,
            project=index == 0 and (shrinks or entry != self.widths[stage]),
            act=self.act,
            stride_first=self.stride_first,
            dtype=self.dtype,
        )

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, *pair(self.image_size), self.channels), jnp.float32)


class Stem(nn.Module):
    """7x7 convolution, norm, activation, 3x3 max pool: a quarter of the height and width."""

    width: int
    act: str
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        x = conv(self.width, 7, 2, 'conv', self.dtype)(images.astype(self.dtype))
        x = activation(self.act)(BatchNorm(dtype=self.dtype, name='norm')(x, mode))
        return {'hidden': nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))}


def conv(features: int, size: int, stride: int, name: str, dtype: str) -> nn.Conv:
    """A convolution padded alike on all sides, as PyTorch's (SAME differs at stride 2)."""
    return nn.Conv(
        features,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        dtype=dtype,
        name=name,
    )


class Residual(nn.Module):
    """Convolutions with norms beside a shortcut: (batch, h, w, c) -> (batch, h', w', features)."""

    features: int
    stride: int
    project: bool
    act: str
    stride_first: bool
    dtype: str

    @property
    def convolutions(self) -> tuple[tuple[int, int, int], ...]:
        """(features, kernel size, stride) of each convolution."""
        raise NotImplementedError

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = shortcut = state['hidden']
        last = len(self.convolutions)
        for index, (features, size, stride) in enumerate(self.convolutions, start=1):
            x = conv(features, size, stride, f'conv{index}', self.dtype)(x)
            x = BatchNorm(dtype=self.dtype, name=f'norm{index}')(x, mode)
            x = nn.relu(x) if index < last else x
        if self.project:
            shortcut = Projection(self.features, self.stride, self.dtype, name='shortcut')(
                shortcut, mode
            )
        return {**state, 'hidden': activation(self.act)(x + shortcut)}


class Basic(Residual):
    """Two 3x3 convolutions."""

    @property
    def convolutions(self) -> tuple[tuple[int, int, int], ...]:
        return (self.features, 3, self.stride), (self.features, 3, 1)


class Bottleneck(Residual):
    """1x1 down to a quarter of the channels, 3x3, 1x1 up."""

    @property
    def convolutions(self) -> tuple[tuple[int, int, int], ...]:
        narrow = self.features // 4
        strides = (self.stride, 1) if self.stride_first else (1, self.stride)
        return (narrow, 1, strides[0]), (narrow, 3, strides[1]), (self.features, 1, 1)


class Projection(nn.Module):
    """The shortcut of a block that changes shape: 1x1 convolution and norm."""

    features: int
    stride: int
    dtype: str

    @nn.compact
    def __call__(self, x, mode: Mode):
        x = conv(self.features, 1, self.stride, 'conv', self.dtype)(x)
        return BatchNorm(dtype=self.dtype, name='norm')(x, mode)
