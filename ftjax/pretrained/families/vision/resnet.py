"""ResNets with BatchNorm under the names of transformers and of torchvision (and timm)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.resnet import ResNet
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, TIMM, Fields
from ftjax.pretrained.families.vision.timm_config import (
    TIMM_FIELDS,
    depth_of,
    options_from_timm,
    pixels,
)
from ftjax.pretrained.families.vision.torchvision_pixels import FIELD, torchvision_pixels
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    read_activation,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, batch_norm, conv, dense
from ftjax.pretrained.readers import TensorSource

IMAGE_PROCESSOR = 'BitImageProcessor'
OWN_PROCESSOR = 'ConvNextImageProcessor'
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = re.compile(r'resnet(18|34|50|101|152)(\..*)?')
# Kind of block and blocks a stage, by the number in the name.
DEPTHS = {
    '18': ('basic', (2, 2, 2, 2)),
    '34': ('basic', (3, 4, 6, 3)),
    '50': ('bottleneck', (3, 4, 6, 3)),
    '101': ('bottleneck', (3, 4, 23, 3)),
    '152': ('bottleneck', (3, 8, 36, 3)),
}
FIELDS = {
    'resnet': Fields(
        reads=(
            *('depths', 'hidden_sizes', 'embedding_size', 'layer_type', 'num_channels'),
            *('downsample_in_bottleneck', 'downsample_in_first_stage', 'hidden_act'),
        ),
        inert={**BACKBONE, 'image_size': 'images of any size pass'},
    ),
    TIMM: TIMM_FIELDS,
}
_UNUSED = (r'.*\.num_batches_tracked',)


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes, transformers' first."""
    base = '' if architecture(config) == 'ResNetModel' else 'resnet.'
    return (
        KeyMap('resnet', _transformers(base), _UNUSED, ('resnet.',)),
        KeyMap('resnet (torchvision)', _TORCHVISION, _UNUSED, ('module.',)),
    )


def _transformers(base: str) -> tuple[Rule, ...]:
    block = f'{base}encoder.stages.{{stage}}.layers.{{block}}'
    path = 'stage{stage+1}_block{block}'
    layer = f'{block}.layer.{{layer}}'
    stem = f'{base}embedder.embedder'
    return (
        *conv(f'{stem}.convolution', 'stem/conv', bias=False),
        *batch_norm(f'{stem}.normalization', 'stem/norm'),
        *conv(f'{layer}.convolution', f'{path}/conv{{layer+1}}', bias=False),
        *batch_norm(f'{layer}.normalization', f'{path}/norm{{layer+1}}'),
        *conv(f'{block}.shortcut.convolution', f'{path}/shortcut/conv', bias=False),
        *batch_norm(f'{block}.shortcut.normalization', f'{path}/shortcut/norm'),
        *dense('classifier.1', 'head/dense'),
    )


_BLOCK, _PATH = 'layer{stage}.{block}', 'stage{stage}_block{block}'
_TORCHVISION = (
    *conv('conv1', 'stem/conv', bias=False),
    *batch_norm('bn1', 'stem/norm'),
    *conv(f'{_BLOCK}.conv{{layer}}', f'{_PATH}/conv{{layer}}', bias=False),
    *batch_norm(f'{_BLOCK}.bn{{layer}}', f'{_PATH}/norm{{layer}}'),
    *conv(f'{_BLOCK}.downsample.0', f'{_PATH}/shortcut/conv', bias=False),
    *batch_norm(f'{_BLOCK}.downsample.1', f'{_PATH}/shortcut/norm'),
    *dense('fc', 'head/dense'),
)


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('resnet', {**_options(config), **overrides})


def _options(config: JsonObject) -> dict[str, Any]:
    if 'architecture' in config:
        return _timm_options(config)
    return {
        'depths': tuple(config.get('depths') or (3, 4, 6, 3)),
        'widths': tuple(config.get('hidden_sizes') or (256, 512, 1024, 2048)),
        'stem_width': config.get('embedding_size', 64),
        'block': config.get('layer_type', 'bottleneck'),
        'stride_first': config.get('downsample_in_bottleneck', False),
        'shrink_first_stage': config.get('downsample_in_first_stage', False),
        'act': read_activation(config.get('hidden_act', 'relu')),
        'channels': config.get('num_channels', 3),
        'num_classes': num_labels(config),
    }


def _timm_options(config: JsonObject) -> dict[str, object]:
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    block, depths = DEPTHS[named[1]]
    first = 256 if block == 'bottleneck' else 64
    side = config.get('pretrained_cfg', {}).get('input_size', (3, 224, 224))[1:]
    base = {
        'block': block,
        'depths': depths,
        'widths': tuple(first << stage for stage in range(4)),
        'image_size': tuple(side),
    }
    return options_from_timm(config, base, {})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ResNet)
    name = 'ResNetForImageClassification' if network.num_classes else 'ResNetModel'
    return {
        'model_type': 'resnet',
        'architectures': [name],
        'depths': list(network.depths),
        'hidden_sizes': list(network.widths),
        'embedding_size': network.stem_width,
        'layer_type': network.block,
        'downsample_in_bottleneck': network.stride_first,
        'downsample_in_first_stage': network.shrink_first_stage,
        'hidden_act': write_activation(network.act),
        'num_channels': network.channels,
        **label_fields(network.num_classes, labels),
    }


def config_from_tensors(source: TensorSource) -> JsonObject:
    """Sizes from the shapes in a torchvision or timm file."""
    names = {name.removeprefix('module.'): name for name in source.names}
    stages = range(1, depth_of((n.replace('layer', 'layer.', 1) for n in names), 'layer.'))
    last = 'conv3' if 'layer1.0.conv3.weight' in names else 'conv2'
    widths = [source.shape(names[f'layer{stage}.0.{last}.weight'])[0] for stage in stages]
    stem = source.shape(names['conv1.weight'])
    head = names.get('fc.bias')
    return {
        'model_type': 'resnet',
        'depths': [depth_of(names, f'layer{stage}.') for stage in stages],
        'hidden_sizes': widths,
        'embedding_size': stem[0],
        'num_channels': stem[1],
        'layer_type': 'bottleneck' if last == 'conv3' else 'basic',
        'num_labels': source.shape(head)[0] if head else 0,
        FIELD: True,  # timm's names are the same, and its files have a config.json
    }


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else torchvision's, or ImageNet's mean and standard deviation."""
    image_size = pair(_options(config).get('image_size', 224))
    if FIELD in config:
        return torchvision_pixels(image_size)
    return pixels(config, image_size, *IMAGENET)
