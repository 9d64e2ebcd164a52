"""The vision tower of SigLIP 2 with any number of patches (NaFlex), as transformers names it.

SigLIP 2 for one size of image is model type `siglip` (siglip.py beside it). Here an image is cut
into patches before the network, and the table of positions is made to fit each image; our
network has one size for all, and its table is made to fit that size when it is opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.models.vision.siglip import SigLIPVision
from ftjax.pretrained.config_fields import Fields, known
from ftjax.pretrained.families.vision.clip import TEXT_TOWER, vision_config
from ftjax.pretrained.families.vision.siglip import (
    DEFAULTS,
    UNUSED,
    above_patches,
    tower_fields,
    tower_network,
    whole_fields,
)
from ftjax.pretrained.keymaps.hf_config import architecture, refuse
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule
from ftjax.pretrained.keymaps.transforms import Transform

IMAGE_PROCESSOR = 'Siglip2ImageProcessor'
FIELDS = {
    'siglip2': Fields(
        reads=('vision_config',),
        inert={'text_config': TEXT_TOWER},
        nested={'vision_config': 'siglip2_vision_model'},
    ),
    'siglip2_vision_model': Fields(
        reads=(
            *('num_patches', 'patch_size', 'num_channels', 'hidden_size', 'num_hidden_layers'),
            *('num_attention_heads', 'hidden_act', 'layer_norm_eps', 'intermediate_size'),
            *('vision_use_head', 'attention_dropout'),
        ),
    ),
}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if architecture(config) == 'Siglip2VisionModel' else 'vision_model.'
    fields = _fields(config)
    patch, channels = fields['patch_size'], fields['num_channels']
    # A patch is a row of numbers there: down, across, channel.
    rows = Transform(
        'patches from rows',
        lambda x: x.T.reshape(patch, patch, channels, -1),
        lambda x: x.reshape(-1, x.shape[-1]).T,
    )
    rules = (
        Rule(f'{base}embeddings.position_embedding.weight', 'embed/pos_embed', 'add_axis'),
        Rule(f'{base}embeddings.patch_embedding.weight', 'embed/patch_embed/kernel', rows),
        Rule(f'{base}embeddings.patch_embedding.bias', 'embed/patch_embed/bias'),
        *above_patches(base),
    )
    side = fields['image_size'] // patch
    table = PositionTable('embed/pos_embed', 0, (side, side), 'bilinear', antialias=True)
    return KeyMap('siglip2_vision', rules, UNUSED, ('vision_model.',), positions=(table,))


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config, for images of as many patches as the table has."""
    return tower_network(config, _fields(config), overrides)


def _fields(config: Mapping[str, object]) -> JsonObject:
    """The tower's, and the side of its square images in pixels."""
    defaults = {**known('siglip2_vision_model').defaults, **DEFAULTS}
    fields = vision_config(config, defaults)
    side = math.isqrt(fields['num_patches'])
    if side**2 != fields['num_patches'] or not isinstance(fields['patch_size'], int):
        raise UserError(
            f'config.json: num_patches {fields["num_patches"]} is no square, or patch_size '
            f'{fields["patch_size"]} no number'
        )
    return {**fields, 'image_size': side * fields['patch_size']}


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, SigLIPVision)
    down, across = network.grid
    high, wide = network.patch_hw
    refuse(network, 'its SigLIP 2 has a square table' if down != across or high != wide else None)
    fields = {**tower_fields(network), 'model_type': 'siglip2_vision_model', 'patch_size': high}
    del fields['image_size']
    fields['num_patches'] = down * across
    return whole_fields(network, labels, fields, 'siglip2', 'Siglip2')


def processor_fields(network: Network) -> dict[str, int]:
    """What its image processor must know beyond the usual."""
    assert isinstance(network, SigLIPVision)
    down, across = network.grid
    return {'patch_size': network.patch_hw[0], 'max_num_patches': down * across}
