"""A network of one's own, and the key map of the files that others keep it in."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ftjax.config import template
from ftjax.models.registry import build, options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.families import Row
from ftjax.pretrained.keymaps.keymap import KeyMap, dense
from ftjax.registry import register


class Layer(nn.Module):
    """A dense layer of pixels, or of what the layer before gives."""

    width: int
    last: bool = False

    @nn.compact
    def __call__(self, state, mode):
        inputs = state['hidden'] if isinstance(state, dict) else state.reshape(len(state), -1)
        out = nn.Dense(self.width, name='dense')(inputs)
        return out if self.last else {'hidden': nn.relu(out)}


@register('model', 'dense_pair')
class DensePair(Network):
    """Dense layers on images of 8 by 8 pixels."""

    width: int = 16
    num_classes: int = 2

    @property
    def stages(self):
        return ('stem', 'block_00', 'head') if self.num_classes else ('stem', 'block_00')

    def make_stage(self, name):
        if name == 'head':
            return partial(Layer, self.num_classes, last=True)
        return partial(Layer, self.width)

    def example_input(self, batch_size=1):
        return jnp.zeros((batch_size, 8, 8, 1))


@register('family', 'dense_pair', details=Row(models=('dense_pair',), model_types=('dense_pair',)))
class Family:
    """Files with the names of a plain torch.nn.Sequential."""

    IN_TRANSFORMERS = False
    KEY_MAP = KeyMap(
        'dense_pair',
        (*dense('0', 'stem/dense'), *dense('2', 'block_00/dense'), *dense('4', 'head/dense')),
    )

    @staticmethod
    def network_from_config(config, **overrides):
        options = {key: value for key, value in config.items() if key != 'model_type'}
        return build('dense_pair', {**options, **overrides})

    @staticmethod
    def config_from_network(network, labels):
        del labels
        return {'model_type': 'dense_pair', **options_of(network)[1]}

    @staticmethod
    def preprocessing(config):
        del config
        return Preprocessing(image_size=(8, 8), mean=(0.5,), std=(0.5,), channels=1)


def get_config():
    return template(init='', model={'name': 'dense_pair'})
