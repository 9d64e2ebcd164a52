"""DINOv3's ConvNeXts under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.convnext import ConvNeXt
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, Fields
from ftjax.pretrained.families.vision import convnext
from ftjax.pretrained.families.vision.timm_config import pixels
from ftjax.pretrained.keymaps.hf_config import refuse
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, conv, dense, norm

OWN_PROCESSOR = 'DINOv3ViTImageProcessorFast'
FIELDS = {
    'dinov3_convnext': Fields(
        reads=(
            *('depths', 'hidden_sizes', 'num_channels', 'image_size', 'hidden_act'),
            *('layer_scale_init_value', 'layer_norm_eps', 'drop_path_rate'),
        ),
        inert=BACKBONE,
    )
}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map: what shrinks the image opens each stage, and in the first it is the stem."""
    del config
    stage = 'stages.{stage}'
    shrink, layer = f'{stage}.downsample_layers', f'{stage}.layers.{{block}}'
    first = 'stage{stage+1}_block0/downsample'
    rules = (
        *conv('stages.0.downsample_layers.0', 'stem/conv'),
        *norm('stages.0.downsample_layers.1', 'stem/norm'),
        *norm(f'{shrink}.0', f'{first}/norm'),
        *conv(f'{shrink}.1', f'{first}/conv'),
        *conv(f'{layer}.depthwise_conv', f'{convnext.BLOCK}/conv'),
        *norm(f'{layer}.layer_norm', f'{convnext.BLOCK}/norm'),
        *dense(f'{layer}.pointwise_conv1', f'{convnext.BLOCK}/mlp/fc1'),
        *dense(f'{layer}.pointwise_conv2', f'{convnext.BLOCK}/mlp/fc2'),
        Rule(f'{layer}.gamma', f'{convnext.BLOCK}/ls/scale'),
        *norm('layer_norm', 'norm/norm'),
    )
    return KeyMap('dinov3_convnext', rules, prefixes=('model.',))


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config; none of transformers' classes has a classifier."""
    scale = config.get('layer_scale_init_value', 1e-6)
    if scale == 0:
        raise UserError('config.json: layer_scale_init_value 0 silences all blocks')
    epsilon = config.get('layer_norm_eps', 1e-6)
    options = {
        **convnext.options({**config, 'num_stages': len(config.get('hidden_sizes') or (0,) * 4)}),
        'patch_size': 4,
        'layer_scale': scale,
        'epsilon': epsilon,
        'inner_epsilon': epsilon,
        'num_classes': 0,
    }
    return build('convnext', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ConvNeXt)
    refuse(network, _no_place(network))
    fields = convnext.config_from_network(network.clone(inner_epsilon=1e-6), labels)
    for name in ('num_stages', 'patch_size'):
        del fields[name]
    return {**fields, 'model_type': 'dinov3_convnext', 'architectures': ['DINOv3ConvNextModel']}


def _no_place(network: ConvNeXt) -> str | None:
    if network.num_classes:
        return 'its DINOv3 has no classifier'
    if network.patch_size != 4 or network.layer_scale is None:
        return 'its DINOv3 has patches of 4 and LayerScale'
    if network.epsilon != network.inner_epsilon:
        return 'its DINOv3 has one epsilon'
    return None


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """ImageNet's mean and standard deviation."""
    return pixels({}, pair(convnext.options(config)['image_size']), *convnext.IMAGENET)
