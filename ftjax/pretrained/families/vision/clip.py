"""The vision tower of CLIP under the names of transformers, alone or within the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.clip import CLIPVision
from ftjax.pretrained.config_fields import Fields, known
from ftjax.pretrained.families.vision.vit import BLOCK, VIT_READS
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    refuse,
    vit_fields,
    vit_options,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm

IMAGE_PROCESSOR = 'CLIPImageProcessor'
TEXT_TOWER = 'of the text tower or of both, not of the vision tower'
_OF_BOTH = ('text_config', 'text_config_dict', 'logit_scale_init_value')
FIELDS = {
    'clip': Fields(
        reads=('projection_dim', 'vision_config', 'vision_config_dict'),
        inert=dict.fromkeys(_OF_BOTH, TEXT_TOWER),
        nested=dict.fromkeys(('vision_config', 'vision_config_dict'), 'clip_vision_model'),
    ),
    'clip_vision_model': Fields(
        reads=(*VIT_READS, 'intermediate_size', 'projection_dim', 'attention_dropout'),
    ),
}
# Rightly left over: the text tower, and what an image classifier goes round.
_UNUSED = (
    r'text_model\..*',
    r'(text|visual)_projection\.weight',
    r'logit_scale',
    r'(vision_model\.)?embeddings\.position_ids',
    r'(vision_model\.)?post_layernorm\..*',
)


def tower(base: str, block: str = BLOCK) -> tuple[Rule, ...]:
    """Rules of the blocks that the towers of CLIP and SigLIP share."""
    layer = f'{base}encoder.layers.{{block}}'
    parts = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value', 'out_proj': 'out'}
    return (
        *norm(f'{layer}.layer_norm1', f'{block}/norm1'),
        *(
            rule
            for theirs, ours in parts.items()
            for rule in dense(f'{layer}.self_attn.{theirs}', f'{block}/attn/{ours}')
        ),
        *norm(f'{layer}.layer_norm2', f'{block}/norm2'),
        *dense(f'{layer}.mlp.fc1', f'{block}/mlp/fc1'),
        *dense(f'{layer}.mlp.fc2', f'{block}/mlp/fc2'),
    )


def grid(config: JsonObject) -> tuple[int, int]:
    """Patches down and across at the size in the config of a tower."""
    sizes = zip(pair(config.get('image_size', 224)), pair(config['patch_size']), strict=True)
    down, across = (image // patch for image, patch in sizes)
    return down, across


def vision_config(config: JsonObject, defaults: Mapping[str, object]) -> JsonObject:
    """The fields of the vision tower: in a dict of their own where there is a text tower."""
    if config.get('model_type') not in ('clip', 'siglip', 'siglip2'):
        return {**defaults, **config.get('vision_config', config)}
    tower = config.get('vision_config') or {}
    # Written by CLIP's first versions: it wins as a whole, its defaults included.
    if older := config.get('vision_config_dict'):
        tower = {**tower, **known('clip_vision_model').defaults, **older}
    return {**defaults, **tower}


# CLIPVisionConfig's, where they are not ViT's.
_DEFAULTS = {'patch_size': 32, 'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if architecture(config) == 'CLIPVisionModel' else 'vision_model.'
    rules = (
        Rule(f'{base}embeddings.class_embedding', 'embed/cls_token', 'add_two_axes'),
        Rule(f'{base}embeddings.position_embedding.weight', 'embed/pos_embed', 'add_axis'),
        *conv(f'{base}embeddings.patch_embedding', 'embed/patch_embed', bias=False),
        *norm(f'{base}pre_layrnorm', 'embed/norm'),  # spelt so
        *tower(base),
        *norm(f'{base}post_layernorm', 'norm/norm'),
        *dense('visual_projection', 'pooler/dense', bias=False),
        *dense('classifier', 'head/dense'),
    )
    table = PositionTable('embed/pos_embed', 1, grid(vision_config(config, _DEFAULTS)))
    return KeyMap('clip_vision', rules, _UNUSED, ('vision_model.',), positions=(table,))


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config: CLIP's own feature, or with classes transformers' classifier."""
    fields = vision_config(config, _DEFAULTS)
    options = vit_options(fields) | {'num_classes': num_labels(config)} | overrides
    options.setdefault('pool', 'mean' if options['num_classes'] else 'cls')
    projects = architecture(config) in ('CLIPModel', 'CLIPVisionModelWithProjection')
    if projects and options['pool'] == 'cls':
        # The whole model has a field of its own, which wins over the tower's.
        options.setdefault('projection', {**fields, **config}.get('projection_dim', 512))
    return build('clip_vision', options)


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, CLIPVision)
    refuse(network, _no_place(network))
    shared = ('qkv_bias', 'hidden_dropout_prob', 'attention_probs_dropout_prob')
    fields = {k: v for k, v in vit_fields(network).items() if k not in shared}
    fields['attention_dropout'] = network.attention_dropout
    fields |= {'projection_dim': network.projection or 512}
    if not network.num_classes:
        name = 'CLIPVisionModelWithProjection' if network.projection else 'CLIPVisionModel'
        return {'model_type': 'clip_vision_model', 'architectures': [name], **fields}
    return {
        'model_type': 'clip',
        'architectures': ['CLIPForImageClassification'],
        'vision_config': {'model_type': 'clip_vision_model', **fields},
        'projection_dim': fields['projection_dim'],
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: CLIPVision) -> str | None:
    if network.stem != 'patch' or not network.qkv_bias or network.layer_scale is not None:
        return 'its CLIP has patches, biases and no LayerScale'
    if network.num_classes and (network.pool != 'mean' or network.projection):
        return "its classifier on CLIP takes pool 'mean' and no projection"
    if not network.num_classes and network.pool != 'cls':
        return "its CLIP without a classifier takes pool 'cls'"
    return None
