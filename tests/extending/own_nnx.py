"""An NNX model of one's own with its weights, in one file: `config.init='tiny_nnx'`."""

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.models import from_nnx
from ftjax.preprocessing.images import Preprocessing
from ftjax.registry import register


class Block(nnx.Module):
    """A residual layer with dropout."""

    def __init__(self, width, rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.dense = nnx.Linear(width, width, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        return x + self.drop(nnx.relu(self.dense(self.norm(x))))


class Tiny(nnx.Module):
    """A network for images of 8 by 8 pixels."""

    def __init__(self, width, rngs):
        self.stem = nnx.Conv(1, width, (4, 4), strides=(4, 4), rngs=rngs)
        self.blocks = nnx.List([Block(width, rngs) for _ in range(2)])
        self.out = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, images):
        x = self.stem(images).reshape(len(images), -1, self.out.in_features)
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(axis=1))


@register('model', 'tiny_nnx')
def tiny_nnx(width: int = 16):
    """Two residual layers; a file of weights would be read into the model here."""
    model = Tiny(width, nnx.Rngs(jax.random.key(0)))
    return from_nnx(
        model,
        {
            'stem': lambda model, x: model.stem(x).reshape(len(x), -1, width),
            'block_00': 'blocks.0',
            'block_01': 'blocks.1',
            'norm': lambda model, x: x.mean(axis=1),
            'head': 'out',
        },
        example=jnp.zeros((1, 8, 8, 1)),
        rebuild=lambda rngs: Tiny(width, rngs),
        preprocessing=Preprocessing(image_size=(8, 8), mean=(0.5,), std=(0.5,), channels=1),
        class_names=('across', 'along'),
    )


def get_config(ablate=''):
    config = template(init='tiny_nnx', freeze='last:1')
    if ablate:
        config.data.source = 'digits'
        config.data.examples_per_class, config.data.val_per_class = 6, 3
        config.data.batch_size, config.train.steps = 6, 3
        config.ablation = ConfigDict(
            {
                'arms': {
                    'full': 'full',
                    'last:1': 'last:1',
                    'lora:2': 'lora:2,targets=dense',
                    'head': 'head',
                },
                'rates': (1e-2,),
                'seeds': (0, 1),
                'max_extra': 0,
            },
            convert_dict=False,
        )
    return config
