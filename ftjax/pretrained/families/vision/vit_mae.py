"""The encoder of a masked autoencoder: a ViT, under the names of transformers (ViTMAE).

Nothing is masked here. The table of positions is a fixed one of sines there, which transformers
never trains; here it is a leaf as others are, and the plan says whether it trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.vit import ViT
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import Fields
from ftjax.pretrained.families.vision import vit
from ftjax.pretrained.families.vision.convnext import IMAGENET
from ftjax.pretrained.families.vision.timm_config import pixels
from ftjax.pretrained.keymaps.hf_config import architecture, vit_options
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable

_MASKED = 'of masked image modelling'
_PARTS = ('num_attention_heads', 'hidden_size', 'num_hidden_layers', 'intermediate_size')
FIELDS = {
    'vit_mae': Fields(
        reads=(
            *(*vit.VIT_READS, 'intermediate_size', 'qkv_bias', 'hidden_dropout_prob'),
            'attention_probs_dropout_prob',
        ),
        inert={
            'mask_ratio': _MASKED,
            'norm_pix_loss': _MASKED,
            **{f'decoder_{part}': _MASKED for part in _PARTS},
        },
    )
}


def key_map(config: JsonObject) -> KeyMap:
    """The map, with the prefix that the class in the config saves: ViT's rules."""
    base = '' if architecture(config) == 'ViTMAEModel' else 'vit.'
    sizes = (pair(config.get(name, default)) for name, default in _SIZES)
    down, across = (image // patch for image, patch in zip(*sizes, strict=True))
    table = PositionTable('embed/pos_embed', 1, (down, across))
    unused = (r'decoder\..*',)
    rules = vit.transformers_rules(base)
    return KeyMap('vit_mae', rules, unused, ('vit.',), positions=(table,))


_SIZES = (('image_size', 224), ('patch_size', 16))


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The encoder; none of transformers' classes has a classifier."""
    return build('vit', {**vit_options(config), 'num_classes': 0, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens: with a classifier, that of a ViT."""
    assert isinstance(network, ViT)
    fields = vit.config_from_network(network, labels)
    if network.num_classes:
        return fields
    return {**fields, 'model_type': 'vit_mae', 'architectures': ['ViTMAEModel'], 'mask_ratio': 0.0}


def preprocessing(config: JsonObject) -> Preprocessing:
    """ImageNet's mean and standard deviation."""
    return pixels({}, pair(config.get('image_size', 224)), *IMAGENET)
