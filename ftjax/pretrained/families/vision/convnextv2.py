"""ConvNeXt V2 under the names of transformers and timm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.convnext import ConvNeXtV2
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, TIMM, Fields
from ftjax.pretrained.families.vision import convnext
from ftjax.pretrained.families.vision.timm_config import TIMM_FIELDS, options_from_timm, pixels
from ftjax.pretrained.keymaps.hf_config import architecture
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule
from ftjax.pretrained.keymaps.transforms import Transform

IMAGE_PROCESSOR, OWN_PROCESSOR = convnext.IMAGE_PROCESSOR, convnext.OWN_PROCESSOR
NAMES = re.compile(r'convnextv2_(atto|femto|pico|nano|tiny|small|base|large|huge)(\..*)?')
# timm's sizes: depths, width of the first stage.
SIZES = {
    'atto': ((2, 2, 6, 2), 40),
    'femto': ((2, 2, 6, 2), 48),
    'pico': ((2, 2, 6, 2), 64),
    'nano': ((2, 2, 8, 2), 80),
    'tiny': ((3, 3, 9, 3), 96),
    'small': ((3, 3, 27, 3), 96),
    'base': ((3, 3, 27, 3), 128),
    'large': ((3, 3, 27, 3), 192),
    'huge': ((3, 3, 27, 3), 352),
}
FIELDS = {
    'convnextv2': Fields(
        reads=(
            *('depths', 'hidden_sizes', 'num_stages', 'patch_size', 'num_channels', 'image_size'),
            *('hidden_act', 'layer_norm_eps', 'drop_path_rate'),
        ),
        inert=BACKBONE,
    ),
    TIMM: TIMM_FIELDS,
}
# transformers' are shaped for channels last: (1, 1, 1, channels).
_CHANNELS = Transform('drop three axes', lambda x: x[0, 0, 0], lambda x: x[None, None, None])


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes, transformers' first."""
    base = '' if architecture(config) == 'ConvNextV2Model' else 'convnextv2.'
    block = f'{base}encoder.stages.{{stage}}.layers.{{block}}'
    rules = (
        *_response_norm(f'{block}.grn', _CHANNELS),
        *convnext.transformers_rules(base),
    )
    timm = _response_norm('stages.{stage}.blocks.{block}.mlp.grn', 'copy')
    return (
        KeyMap('convnextv2', rules, prefixes=('convnextv2.',)),
        KeyMap('convnextv2 (timm)', (*timm, *convnext.TIMM_RULES)),
    )


def _response_norm(source: str, transform: str | Transform) -> tuple[Rule, ...]:
    path = f'{convnext.BLOCK}/mlp/response_norm'
    return (
        Rule(f'{source}.weight', f'{path}/scale', transform),
        Rule(f'{source}.bias', f'{path}/bias', transform),
    )


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('convnextv2', {**_options(config), **overrides})


def _options(config: JsonObject) -> dict[str, Any]:
    if 'architecture' not in config:
        return {**convnext.options(config), 'layer_scale': None}
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    depths, width = SIZES[named[1]]
    side = config.get('pretrained_cfg', {}).get('input_size', (3, 224, 224))[1:]
    base = {
        'depths': depths,
        'widths': tuple(width << stage for stage in range(4)),
        'image_size': tuple(side),
    }
    return options_from_timm(config, base, {'depths': 'depths', 'dims': 'widths'})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ConvNeXtV2)
    fields = convnext.config_from_network(network, labels)
    del fields['layer_scale_init_value']
    kind = fields['architectures'][0].replace('ConvNext', 'ConvNextV2')
    return {**fields, 'model_type': 'convnextv2', 'architectures': [kind]}


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else ImageNet's mean and standard deviation."""
    return pixels(config, pair(_options(config)['image_size']), *convnext.IMAGENET)
