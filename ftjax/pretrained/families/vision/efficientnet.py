"""EfficientNet under the names of transformers and timm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.efficientnet import TOP, EfficientNet
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import TIMM, Fields, complement, known
from ftjax.pretrained.families.vision import efficientnet_timm
from ftjax.pretrained.families.vision.convnext import IMAGENET
from ftjax.pretrained.families.vision.timm_config import TIMM_FIELDS, pixels
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    plain,
    read_activation,
    refuse,
    size,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, batch_norm, conv, dense

OWN_PROCESSOR = 'EfficientNetImageProcessor'
FIELDS = {
    'efficientnet': Fields(
        reads=(
            *('width_coefficient', 'depth_coefficient', 'depth_divisor', 'kernel_sizes'),
            *('in_channels', 'out_channels', 'depthwise_padding', 'strides'),
            *('num_block_repeats', 'expand_ratios', 'squeeze_expansion_ratio', 'hidden_act'),
            *('hidden_dim', 'pooling_type', 'batch_norm_eps', 'batch_norm_momentum'),
            *('dropout_rate', 'drop_connect_rate', 'image_size', 'num_channels'),
        ),
        inert={'num_hidden_layers': 'num_block_repeats are read'},
        complements={
            'batch_norm_momentum': "Keras' share of the old statistics, which transformers takes "
            'for that of the new batch: one step of training would replace nearly all of them'
        },
    ),
    TIMM: TIMM_FIELDS,
}
# Field of transformers -> ours, for the lists of one number a stage.
_LISTS = {
    'kernel_sizes': 'kernels',
    'in_channels': 'entries',
    'out_channels': 'widths',
    'depthwise_padding': 'even_blocks',
    'strides': 'strides',
    'num_block_repeats': 'repeats',
    'expand_ratios': 'expansions',
}
_NUMBERS = {
    'width_coefficient': 'width_factor',
    'depth_coefficient': 'depth_factor',
    'depth_divisor': 'divisor',
    'squeeze_expansion_ratio': 'squeeze',
    'pooling_type': 'pool',
    'batch_norm_eps': 'epsilon',
    'batch_norm_momentum': 'momentum',
    'dropout_rate': 'head_dropout',
    'drop_connect_rate': 'dropout',
    'num_channels': 'channels',
}
_UNUSED = (r'.*\.num_batches_tracked',)


def key_map(config: JsonObject) -> tuple[KeyMap, ...]:
    """The maps of transformers, which counts blocks over all stages, and of timm."""
    base = '' if architecture(config) == 'EfficientNetModel' else 'efficientnet.'
    network = network_from_config(config)
    rules = (
        *conv(f'{base}embeddings.convolution', 'stem/conv', bias=False),
        *batch_norm(f'{base}embeddings.batchnorm', 'stem/norm'),
        *(
            rule
            for index, block in enumerate(network.blocks)
            for rule in _block(f'{base}encoder.blocks.{index}', block)
        ),
        Rule(f'{base}encoder.top_conv.weight', 'top/conv/kernel', 'pointwise'),
        *batch_norm(f'{base}encoder.top_bn', 'top/norm'),
        *dense('classifier', 'head/dense'),
    )
    named = KeyMap('efficientnet', rules, _UNUSED, ('efficientnet.',))
    return named, efficientnet_timm.key_map(network)


def _block(source: str, path: str) -> Iterator[Rule]:
    yield Rule(f'{source}.expansion.expand_conv.weight', f'{path}/expand/kernel', 'pointwise')
    yield from batch_norm(f'{source}.expansion.expand_bn', f'{path}/expand_norm')
    yield from conv(f'{source}.depthwise_conv.depthwise_conv', f'{path}/conv', bias=False)
    yield from batch_norm(f'{source}.depthwise_conv.depthwise_norm', f'{path}/norm')
    for part in ('reduce', 'expand'):
        layer = f'{source}.squeeze_excite.{part}'
        yield Rule(f'{layer}.weight', f'{path}/excite/{part}/kernel', 'pointwise')
        yield Rule(f'{layer}.bias', f'{path}/excite/{part}/bias')
    yield Rule(f'{source}.projection.project_conv.weight', f'{path}/project/kernel', 'pointwise')
    yield from batch_norm(f'{source}.projection.project_bn', f'{path}/project_norm')


def network_from_config(config: JsonObject, **overrides: Any) -> EfficientNet:
    """The network of a transformers or timm config.

    Raises:
      UserError: numbers that do not go together.
    """
    if 'architecture' in config:
        options = efficientnet_timm.options(config, overrides.get('image_size'))
        network = build('efficientnet', {**options, **overrides})
        assert isinstance(network, EfficientNet)
        return network
    fields = {**known('efficientnet').defaults, **config}
    options = {
        **{ours: tuple(fields[theirs]) for theirs, ours in _LISTS.items()},
        **{ours: fields[theirs] for theirs, ours in _NUMBERS.items()},
        'momentum': complement(fields['batch_norm_momentum']),
        'act': read_activation(fields['hidden_act']),
        'image_size': size(fields['image_size']),
        'num_classes': num_labels(config),
    }
    network = build('efficientnet', {**options, **overrides})
    assert isinstance(network, EfficientNet)
    if fields['hidden_dim'] != network.rounded(TOP):
        raise UserError(
            f'config.json: hidden_dim {fields["hidden_dim"]} where width_coefficient '
            f'{network.width_factor} gives {network.rounded(TOP)}'
        )
    return network


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, EfficientNet)
    refuse(network, 'its strides are 1 or 2' if set(network.strides) - {1, 2} else None)
    name = 'EfficientNetForImageClassification' if network.num_classes else 'EfficientNetModel'
    return {
        'model_type': 'efficientnet',
        'architectures': [name],
        **{theirs: list(getattr(network, ours)) for theirs, ours in _LISTS.items()},
        **{theirs: getattr(network, ours) for theirs, ours in _NUMBERS.items()},
        'hidden_act': write_activation(network.act),
        'hidden_dim': network.rounded(TOP),
        'image_size': plain(network.image_size),
        **label_fields(network.num_classes, labels),
    }


def preprocessing(config: JsonObject) -> Preprocessing:
    """What timm's config says; else ImageNet's mean and standard deviation."""
    return pixels(config, pair(network_from_config(config).image_size), *IMAGENET)
