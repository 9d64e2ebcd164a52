"""Swin V2 under the names of transformers and timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.swinv2 import SwinV2
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import TIMM, Fields, known
from ftjax.pretrained.families.vision import swin, swinv2_timm
from ftjax.pretrained.families.vision.convnext import IMAGENET
from ftjax.pretrained.families.vision.timm_config import TIMM_FIELDS, pixels
from ftjax.pretrained.keymaps.hf_config import architecture
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense

_SWIN = swin.FIELDS['swin']
FIELDS = {
    'swinv2': Fields(
        reads=(
            *(name for name in _SWIN.reads if name != 'use_absolute_embeddings'),
            'pretrained_window_sizes',
        ),
        inert=_SWIN.inert,
    ),
    TIMM: TIMM_FIELDS,
}
_UNUSED = (
    r'.*\.relative_(position_index|coords_table)',  # follow from the window
    r'embeddings\.mask_token',
    r'decoder\..*',
)


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes, transformers' first."""
    base = '' if architecture(config) == 'Swinv2Model' else 'swinv2.'
    attention = f'{base}encoder.layers.{{stage}}.blocks.{{block}}.attention.self'
    path = 'stage{stage+1}_block{block}'
    network = f'{attention}.continuous_position_bias_mlp'
    rules = (
        Rule(f'{attention}.logit_scale', f'{path}/attn/logit_scale'),
        *dense(f'{network}.0', f'{path}/attn_bias/fc1'),
        *dense(f'{network}.2', f'{path}/attn_bias/fc2', bias=False),
        *swin.rules(base),
    )
    return KeyMap('swinv2', rules, _UNUSED, ('swinv2.',)), swinv2_timm.MAP


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    if 'architecture' in config:
        return build('swinv2', {**swinv2_timm.options(config), **overrides})
    windows = config.get('pretrained_window_sizes', known('swinv2').defaults[_WINDOWS])
    options = {**swin.options(config), 'pretrained_windows': tuple(windows)}
    return build('swinv2', {**options, **overrides})


_WINDOWS = 'pretrained_window_sizes'


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, SwinV2)
    fields = swin.config_from_network(network, labels)
    del fields['use_absolute_embeddings']
    kind = fields['architectures'][0].replace('Swin', 'Swinv2')
    return {
        **fields,
        'model_type': 'swinv2',
        'architectures': [kind],
        _WINDOWS: list(network.pretrained_windows),
    }


def preprocessing(config: JsonObject) -> Preprocessing:
    """What timm's config says; else ImageNet's mean and standard deviation."""
    network = network_from_config(config)
    assert isinstance(network, SwinV2)
    return pixels(config, pair(network.image_size), *IMAGENET)
