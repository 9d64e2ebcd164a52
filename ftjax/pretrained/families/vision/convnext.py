"""ConvNeXt under the names of transformers, timm and torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.convnext import ConvNeXt
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, TIMM, Fields
from ftjax.pretrained.families.vision.timm_config import (
    TIMM_FIELDS,
    depth_of,
    options_from_timm,
    pixels,
)
from ftjax.pretrained.families.vision.torchvision_pixels import (
    FIELD,
    RESIZED,
    torchvision_pixels,
)
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
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, conv, dense, norm
from ftjax.pretrained.keymaps.transforms import Transform
from ftjax.pretrained.readers import TensorSource

IMAGE_PROCESSOR = 'BitImageProcessor'
OWN_PROCESSOR = 'ConvNextImageProcessor'
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = re.compile(r'convnext_(tiny|small|base|large|xlarge)(\..*)?')
# timm's sizes: depth of the third stage, width of the first.
SIZES = {
    'tiny': (9, 96),
    'small': (27, 96),
    'base': (27, 128),
    'large': (27, 192),
    'xlarge': (27, 256),
}
# resize_size of torchvision's ConvNeXt_{Tiny,Small,Base,Large}_Weights.IMAGENET1K_V1, by the sizes.
_RESIZED = {SIZES['tiny']: 236, SIZES['small']: 230, SIZES['base']: 232, SIZES['large']: 232}
FIELDS = {
    'convnext': Fields(
        reads=(
            *('depths', 'hidden_sizes', 'num_stages', 'patch_size', 'num_channels', 'image_size'),
            *('hidden_act', 'layer_scale_init_value', 'layer_norm_eps', 'drop_path_rate'),
        ),
        inert=BACKBONE,
    ),
    TIMM: TIMM_FIELDS,
}
BLOCK = 'stage{stage+1}_block{block}'


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of the three naming schemes, transformers' first."""
    base = '' if architecture(config) == 'ConvNextModel' else 'convnext.'
    return (
        KeyMap('convnext', transformers_rules(base), prefixes=('convnext.',)),
        KeyMap('convnext (timm)', TIMM_RULES),
        KeyMap('convnext (torchvision)', _TORCHVISION),
    )


def transformers_rules(base: str) -> tuple[Rule, ...]:
    """Rules of ConvNeXt in transformers, those of V2 as far as they are the same."""
    stage = f'{base}encoder.stages.{{stage}}'
    block = f'{stage}.layers.{{block}}'
    return (
        *conv(f'{base}embeddings.patch_embeddings', 'stem/conv'),
        *norm(f'{base}embeddings.layernorm', 'stem/norm'),
        *norm(f'{stage}.downsampling_layer.0', 'stage{stage+1}_block0/downsample/norm'),
        *conv(f'{stage}.downsampling_layer.1', 'stage{stage+1}_block0/downsample/conv'),
        *conv(f'{block}.dwconv', f'{BLOCK}/conv'),
        *norm(f'{block}.layernorm', f'{BLOCK}/norm'),
        *dense(f'{block}.pwconv1', f'{BLOCK}/mlp/fc1'),
        *dense(f'{block}.pwconv2', f'{BLOCK}/mlp/fc2'),
        Rule(f'{block}.layer_scale_parameter', f'{BLOCK}/ls/scale'),
        *norm(f'{base}layernorm', 'norm/norm'),
        *dense('classifier', 'head/dense'),
    )


_STAGE = 'stages.{stage}'
TIMM_RULES = (
    *conv('stem.0', 'stem/conv'),
    *norm('stem.1', 'stem/norm'),
    *norm(f'{_STAGE}.downsample.0', 'stage{stage+1}_block0/downsample/norm'),
    *conv(f'{_STAGE}.downsample.1', 'stage{stage+1}_block0/downsample/conv'),
    *conv(f'{_STAGE}.blocks.{{block}}.conv_dw', f'{BLOCK}/conv'),
    *norm(f'{_STAGE}.blocks.{{block}}.norm', f'{BLOCK}/norm'),
    *dense(f'{_STAGE}.blocks.{{block}}.mlp.fc1', f'{BLOCK}/mlp/fc1'),
    *dense(f'{_STAGE}.blocks.{{block}}.mlp.fc2', f'{BLOCK}/mlp/fc2'),
    Rule(f'{_STAGE}.blocks.{{block}}.gamma', f'{BLOCK}/ls/scale'),
    *norm('head.norm', 'norm/norm'),
    *dense('head.fc', 'head/dense'),
)

# torchvision's LayerScale is shaped for channels first: (channels, 1, 1).
_CHANNELS = Transform('drop two axes', lambda x: x[..., 0, 0], lambda x: x[:, None, None])


def _torchvision_stage(stage: int) -> tuple[Rule, ...]:
    """Stages and what shrinks between them share one list there: stem, 1, shrink, 2, shrink .."""
    block, path = f'features.{2 * stage - 1}.{{block}}', f'stage{stage}_block{{block}}'
    shrink, first = f'features.{2 * stage - 2}', f'stage{stage}_block0/downsample'
    between = (*norm(f'{shrink}.0', f'{first}/norm'), *conv(f'{shrink}.1', f'{first}/conv'))
    return (
        *(between if stage > 1 else ()),
        *conv(f'{block}.block.0', f'{path}/conv'),
        *norm(f'{block}.block.2', f'{path}/norm'),
        *dense(f'{block}.block.3', f'{path}/mlp/fc1'),
        *dense(f'{block}.block.5', f'{path}/mlp/fc2'),
        Rule(f'{block}.layer_scale', f'{path}/ls/scale', _CHANNELS),
    )


_TORCHVISION = (
    *conv('features.0.0', 'stem/conv'),
    *norm('features.0.1', 'stem/norm'),
    *(rule for stage in (1, 2, 3, 4) for rule in _torchvision_stage(stage)),
    *norm('classifier.0', 'norm/norm'),
    *dense('classifier.2', 'head/dense'),
)


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('convnext', {**_options(config), **overrides})


def _options(config: Mapping[str, object]) -> dict[str, Any]:
    return _timm_options(config) if 'architecture' in config else options(config)


def options(config: JsonObject) -> dict[str, Any]:
    """The fields of a network of transformers' config.

    Raises:
      UserError: fields that do not go together.
    """
    scale = config.get('layer_scale_init_value', 1e-6)
    depths = tuple(config.get('depths') or (3, 3, 9, 3))
    if (stages := config.get('num_stages', len(depths))) != len(depths):
        raise UserError(f'config.json: num_stages {stages} where depths have {len(depths)} entries')
    return {
        'depths': depths,
        'widths': tuple(config.get('hidden_sizes') or (96, 192, 384, 768)),
        'patch_size': config.get('patch_size', 4),
        'act': read_activation(config.get('hidden_act', 'gelu')),
        'layer_scale': scale if scale > 0 else None,
        'epsilon': config.get('layer_norm_eps', 1e-12),
        'drop_path': config.get('drop_path_rate', 0.0),
        'image_size': size(config.get('image_size', 224)),
        'channels': config.get('num_channels', 3),
        'num_classes': num_labels(config),
    }


def _timm_options(config: JsonObject) -> dict[str, object]:
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    third, width = SIZES[named[1]]
    side = config.get('pretrained_cfg', {}).get('input_size', (3, 224, 224))[1:]
    base = {
        'depths': (3, 3, third, 3),
        'widths': tuple(width << stage for stage in range(4)),
        'image_size': tuple(side),
    }
    arguments = {'depths': 'depths', 'dims': 'widths', 'ls_init_value': 'layer_scale'}
    return options_from_timm(config, base, arguments)


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ConvNeXt)
    refuse(network, _no_place(network))
    name = 'ConvNextForImageClassification' if network.num_classes else 'ConvNextModel'
    return {
        'model_type': 'convnext',
        'architectures': [name],
        'num_stages': len(network.depths),
        'depths': list(network.depths),
        'hidden_sizes': list(network.widths),
        'patch_size': network.patch_size,
        'hidden_act': write_activation(network.act),
        'layer_scale_init_value': network.layer_scale or 0.0,
        'layer_norm_eps': network.epsilon,
        'drop_path_rate': network.drop_path,
        'image_size': plain(network.image_size),
        'num_channels': network.channels,
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: ConvNeXt) -> str | None:
    if network.inner_epsilon != 1e-6:
        return 'the epsilon of its inner norms is 1e-6'
    return None


def config_from_tensors(source: TensorSource) -> JsonObject:
    """Sizes from the shapes in a timm or torchvision file."""
    names = set(source.names)
    torchvision = 'features.0.0.weight' in names
    prefix = 'features.' if torchvision else 'stages.'
    # torchvision's even numbers are what shrinks between the stages.
    last = depth_of(names, prefix) - 1
    lists = range(1, last + 1, 2) if torchvision else range(last + 1)
    blocks = [f'{prefix}{n}.' if torchvision else f'{prefix}{n}.blocks.' for n in lists]
    conv_name = 'block.0' if torchvision else 'conv_dw'
    stem = source.shape('features.0.0.weight' if torchvision else 'stem.0.weight')
    scale = 'layer_scale' if torchvision else 'gamma'
    head = 'classifier.2.bias' if torchvision else 'head.fc.bias'
    return {
        'model_type': 'convnext',
        'depths': [depth_of(names, block) for block in blocks],
        'hidden_sizes': [source.shape(f'{block}0.{conv_name}.bias')[0] for block in blocks],
        'patch_size': stem[2],
        'num_channels': stem[1],
        'layer_scale_init_value': 1e-6 if f'{blocks[0]}0.{scale}' in names else 0.0,
        'layer_norm_eps': 1e-6,
        'num_labels': source.shape(head)[0] if head in names else 0,
        **({FIELD: True} if torchvision else {}),
    }


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else torchvision's, or ImageNet's mean and standard deviation."""
    fields = _options(config)
    image_size = pair(fields['image_size'])
    if FIELD in config:
        size = (fields['depths'][2], fields['widths'][0])
        return torchvision_pixels(image_size, _RESIZED.get(size, RESIZED))
    return pixels(config, image_size, *IMAGENET)
