"""The vision tower of SigLIP under the names of transformers, alone or within the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.siglip import SigLIPVision
from ftjax.pretrained.config_fields import Fields
from ftjax.pretrained.families.vision.clip import TEXT_TOWER, grid, tower, vision_config
from ftjax.pretrained.families.vision.vit import VIT_READS, fused
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    refuse,
    vit_fields,
    vit_options,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm

IMAGE_PROCESSOR = 'SiglipImageProcessor'
FIELDS = {
    'siglip': Fields(
        reads=('vision_config',),
        inert={'text_config': TEXT_TOWER},
        nested={'vision_config': 'siglip_vision_model'},
    ),
    'siglip_vision_model': Fields(
        reads=(*VIT_READS, 'intermediate_size', 'vision_use_head', 'attention_dropout'),
    ),
}
# Rightly left over: the text tower, and the pooling that an image classifier goes round.
UNUSED = (
    r'text_model\..*',
    r'logit_(scale|bias)',
    r'(vision_model\.)?embeddings\.position_ids',
    r'(vision_model\.)?head\..*',
)
# SiglipVisionConfig's, where they are not ViT's.
DEFAULTS = {'hidden_act': 'gelu_pytorch_tanh', 'layer_norm_eps': 1e-6}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if architecture(config) == 'SiglipVisionModel' else 'vision_model.'
    rules = (
        Rule(f'{base}embeddings.position_embedding.weight', 'embed/pos_embed', 'add_axis'),
        *conv(f'{base}embeddings.patch_embedding', 'embed/patch_embed'),
        *above_patches(base),
    )
    fields = vision_config(config, {'patch_size': 16})
    table = PositionTable('embed/pos_embed', 0, grid(fields))
    return KeyMap('siglip_vision', rules, UNUSED, ('vision_model.',), positions=(table,))


def above_patches(base: str) -> tuple[Rule, ...]:
    """Rules of the blocks and of what follows them, the classifier included."""
    return (
        *tower(base),
        *norm(f'{base}post_layernorm', 'norm/norm'),
        Rule(f'{base}head.probe', 'pooler/probe'),
        *fused(f'{base}head.attention.in_proj_', 'pooler/attn'),
        *dense(f'{base}head.attention.out_proj', 'pooler/attn/out'),
        *norm(f'{base}head.layernorm', 'pooler/norm'),
        *dense(f'{base}head.mlp.fc1', 'pooler/mlp/fc1'),
        *dense(f'{base}head.mlp.fc2', 'pooler/mlp/fc2'),
        *dense('classifier', 'head/dense'),
    )


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config: SigLIP's own feature, or with classes transformers' classifier."""
    return tower_network(config, vision_config(config, DEFAULTS), overrides)


def tower_network(
    config: Mapping[str, object], fields: Mapping[str, object], overrides: Mapping[str, object]
) -> Network:
    """The network of a config whose vision tower has these fields."""
    options = {**vit_options(fields), 'num_classes': num_labels(config), **overrides}
    attends = not options['num_classes'] and fields.get('vision_use_head', True)
    options.setdefault('pool', 'map' if attends else 'mean')
    return build('siglip_vision', options)


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, SigLIPVision)
    fields = {**tower_fields(network), 'model_type': 'siglip_vision_model'}
    return whole_fields(network, labels, fields, 'siglip', 'Siglip')


def tower_fields(network: SigLIPVision) -> dict[str, object]:
    """The fields of the config of a vision tower."""
    refuse(network, _no_place(network))
    shared = ('qkv_bias', 'hidden_dropout_prob', 'attention_probs_dropout_prob')
    fields = {k: v for k, v in vit_fields(network).items() if k not in shared}
    return {
        **fields,
        'attention_dropout': network.attention_dropout,
        'vision_use_head': network.pool == 'map',
    }


def whole_fields(
    network: SigLIPVision,
    labels: Sequence[str],
    tower: Mapping[str, object],
    model_type: str,
    prefix: str,
) -> dict[str, object]:
    """The config of a tower alone, or with a classifier that of the whole around it."""
    if not network.num_classes:
        return {'architectures': [f'{prefix}VisionModel'], **tower}
    return {
        'model_type': model_type,
        'architectures': [f'{prefix}ForImageClassification'],
        'vision_config': dict(tower),
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: SigLIPVision) -> str | None:
    if network.stem != 'patch' or not network.qkv_bias or network.layer_scale is not None:
        return 'its SigLIP has patches, biases and no LayerScale'
    if network.num_classes and network.pool != 'mean':
        return "its classifier on SigLIP takes pool 'mean'"
    return None
