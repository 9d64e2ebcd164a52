r"""A network of your own in one file, to copy: network, names of its weights, preprocessing.

    python scripts/check_model.py --config=configs/own_model.py
    python scripts/train.py --config=configs/own_model.py --workdir=runs/own
    python scripts/train.py --config=configs/own_model.py --workdir=runs/own \
        --config.init=FOLDER --config.data.source=folder:PATH

FOLDER holds model.safetensors and config.json, {"model_type": "own_net", "dim": 32}; without it
the weights are random. The first stage takes the inputs, the last gives (batch, num_classes)
float32, and between them flows {'hidden': ..}. Layers that are fast on a CPU too are in
ftjax/models/layers: DepthwiseConv, conv3x3, PatchProjection, SelfAttention, `attend` alone. For a
model of NNX, which is a little shorter, see tests/extending/own_nnx.py.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.config import template
from ftjax.models.layers.depthwise import DepthwiseConv
from ftjax.models.layers.heads import Head
from ftjax.models.layers.mlp import layer_norm
from ftjax.models.layers.patches import PatchProjection
from ftjax.models.stages import Mode, Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.families.own import own_family
from ftjax.pretrained.keymaps.keymap import conv, dense, dense_1x1, norm, per_channel
from ftjax.registry import register


class Stem(nn.Module):
    """Patches of 2 by 2 pixels: (batch, h, w, channels) -> (batch, h / 2, w / 2, width)."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, images, mode: Mode):
        patches = PatchProjection(self.width, (2, 2), dtype=self.dtype, name='patch_embed')
        return {'hidden': patches(images.astype(self.dtype))}


class Block(nn.Module):
    """A depthwise convolution and two dense layers, scaled and added."""

    width: int
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = DepthwiseConv(3, self.dtype, name='depthwise')(state['hidden'])
        x = layer_norm('norm', 1e-6, self.dtype)(x)  # `norm` in a name: what freeze=norm trains
        x = nn.gelu(nn.Dense(4 * self.width, dtype=self.dtype, name='fc1')(x))
        x = nn.Dense(self.width, dtype=self.dtype, name='fc2')(x)
        x = nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)
        scale = self.param('scale', nn.initializers.constant(0.1), (self.width,))
        return {**state, 'hidden': state['hidden'] + x * scale.astype(x.dtype)}


class Pool(nn.Module):
    """The mean over the image, normalised."""

    dtype: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        return {'hidden': layer_norm('norm', 1e-6, self.dtype)(state['hidden'].mean((1, 2)))}


@register('model', 'own_net')
class OwnNet(Network):
    """Its fields are what config.model may set; each needs a default."""

    image_size: int = 8
    channels: int = 1
    width: int = 16
    depth: int = 3
    num_classes: int = 10  # the head's outputs; with 0 there must be no stage `head`
    dropout: float = 0.1
    dtype: str = 'float32'  # what it computes in: config.precision sets it

    @property
    def stages(self) -> tuple[str, ...]:
        # What last:k and its kin count is called block_00, block_01, ..; other stages as you like.
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        return ('stem', *blocks, 'pool', *(('head',) if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'stem':
            return partial(Stem, self.width, self.dtype)
        if name == 'pool':
            return partial(Pool, self.dtype)
        if name == 'head':
            return partial(Head, self.num_classes)
        return partial(Block, self.width, self.dropout, self.dtype)

    @property
    def noiseless(self) -> bool:
        return not self.dropout

    def example_input(self, batch_size: int = 1):
        return jnp.zeros((batch_size, self.image_size, self.image_size, self.channels))


own_family(
    'own_net',
    (
        # Names in the file, and the leaf each becomes; both directions, so that it is exported too.
        *conv('stem', 'stem/patch_embed'),
        *conv('blocks.{block}.depthwise', 'block_{block:02d}/depthwise'),
        *norm('blocks.{block}.norm', 'block_{block:02d}/norm'),
        *dense_1x1('blocks.{block}.expand', 'block_{block:02d}/fc1'),
        *dense_1x1('blocks.{block}.reduce', 'block_{block:02d}/fc2'),
        *per_channel('blocks.{block}.gamma', 'block_{block:02d}/scale'),
        *norm('norm', 'pool/norm'),
        *dense('head', 'head/dense'),
    ),
    fields={'dim': 'width', 'layers': 'depth'},  # their config.json's keys: our fields
    preprocessing=Preprocessing(image_size=(8, 8), mean=(0.5,), std=(0.5,), channels=1),
)


def get_config():
    return template(
        init='',  # a folder of weights, with the names above
        model={'name': 'own_net'},
        data={'source': 'digits', 'batch_size': 16, 'augment': 'none'},
        freeze='last:1',
        train={'epochs': 2.0},
    )
