"""BEiT under the names of transformers and timm (which are those of the original)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.beit import BEiT
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, TIMM, Fields, known
from ftjax.pretrained.families.vision.timm_config import TIMM_FIELDS, options_from_timm, pixels
from ftjax.pretrained.families.vision.vit import BLOCK, QKV, SIZES, VIT_READS, encoder
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    refuse,
    vit_fields,
    vit_options,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm

IMAGE_PROCESSOR = 'BitImageProcessor'
OWN_PROCESSOR = 'BeitImageProcessor'
NAMES = re.compile(r'beit_(base|large)_patch(\d+)_(\d+)(\..*)?')
_SEGMENTS = 'of segmentation'
_FLAGS = {
    'use_absolute_position_embeddings': 'absolute_positions',
    'use_relative_position_bias': 'relative_bias',
    'use_shared_relative_position_bias': 'shared_bias',
}
FIELDS = {
    'beit': Fields(
        reads=(
            *(*VIT_READS, *_FLAGS, 'intermediate_size', 'hidden_dropout_prob'),
            'attention_probs_dropout_prob',
            *('layer_scale_init_value', 'drop_path_rate', 'use_mean_pooling'),
        ),
        inert={
            **BACKBONE,
            'use_mask_token': 'of masked image modelling',
            'vocab_size': 'of masked image modelling',
            'reshape_hidden_states': 'of the backbone of a detector',
            **dict.fromkeys(
                (
                    *('pool_scales', 'use_auxiliary_head', 'auxiliary_loss_weight', 'add_fpn'),
                    *('auxiliary_channels', 'auxiliary_num_convs', 'auxiliary_concat_input'),
                    *('semantic_loss_ignore_index', 'segmentation_indices'),
                ),
                _SEGMENTS,
            ),
        },
    ),
    TIMM: TIMM_FIELDS,
}
_UNUSED = (
    r'embeddings\.mask_token',
    r'lm_head\..*',
    r'.*relative_position_index',  # follows from the grid
)


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes, transformers' first."""
    options = _options(config)
    sizes = zip(pair(options['image_size']), pair(options['patch_size']), strict=True)
    down, across = (image // patch for image, patch in sizes)
    table = PositionTable('embed/pos_embed', 1, (down, across))
    base = '' if architecture(config) == 'BeitModel' else 'beit.'
    last = 'pooler.layernorm' if options['pool'] == 'mean' else 'layernorm'
    layer = f'{base}encoder.layer'
    bias = 'relative_position_bias.relative_position_bias_table'
    rules = (
        Rule(f'{base}embeddings.cls_token', 'embed/cls_token'),
        Rule(f'{base}embeddings.position_embeddings', 'embed/pos_embed'),
        *conv(f'{base}embeddings.patch_embeddings.projection', 'embed/patch_embed'),
        Rule(f'{base}encoder.{bias}', 'embed/attn_bias/table'),
        Rule(f'{layer}.{{block}}.attention.attention.{bias}', f'{BLOCK}/attn_bias/table'),
        *encoder(layer),
        Rule(f'{layer}.{{block}}.lambda_1', f'{BLOCK}/ls1/scale'),
        Rule(f'{layer}.{{block}}.lambda_2', f'{BLOCK}/ls2/scale'),
        *norm(f'{base}{last}', 'norm/norm'),
        # Masked image modelling has a norm of its own, outside the model.
        *norm('layernorm', 'norm/norm'),
        *dense('classifier', 'head/dense'),
    )
    return (
        KeyMap('beit', rules, _UNUSED, ('beit.',), positions=(table,)),
        KeyMap('beit (timm)', _TIMM, _UNUSED, positions=(table,)),
    )


_LAYER = 'blocks.{block}'
_TIMM = (
    Rule('cls_token', 'embed/cls_token'),
    Rule('pos_embed', 'embed/pos_embed'),
    *conv('patch_embed.proj', 'embed/patch_embed'),
    Rule('rel_pos_bias.relative_position_bias_table', 'embed/attn_bias/table'),
    *norm(f'{_LAYER}.norm1', f'{BLOCK}/norm1'),
    Rule(
        f'{_LAYER}.attn.qkv.weight', tuple(f'{BLOCK}/attn/{part}/kernel' for part in QKV), 'dense'
    ),
    Rule(f'{_LAYER}.attn.q_bias', f'{BLOCK}/attn/query/bias'),
    Rule(f'{_LAYER}.attn.v_bias', f'{BLOCK}/attn/value/bias'),
    Rule(f'{_LAYER}.attn.relative_position_bias_table', f'{BLOCK}/attn_bias/table'),
    *dense(f'{_LAYER}.attn.proj', f'{BLOCK}/attn/out'),
    Rule(f'{_LAYER}.gamma_1', f'{BLOCK}/ls1/scale'),
    *norm(f'{_LAYER}.norm2', f'{BLOCK}/norm2'),
    *dense(f'{_LAYER}.mlp.fc1', f'{BLOCK}/mlp/fc1'),
    *dense(f'{_LAYER}.mlp.fc2', f'{BLOCK}/mlp/fc2'),
    Rule(f'{_LAYER}.gamma_2', f'{BLOCK}/ls2/scale'),
    *norm('fc_norm', 'norm/norm'),
    *dense('head', 'head/dense'),
)


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('beit', {**_options(config), **overrides})


def _options(config: Mapping[str, object]) -> dict[str, Any]:
    if 'architecture' in config:
        return _timm_options(config)
    fields = {**known('beit').defaults, **config}
    options: dict[str, Any] = {
        **vit_options(fields),
        **{ours: fields[theirs] for theirs, ours in _FLAGS.items()},
        'layer_scale': fields['layer_scale_init_value'] or None,
        'drop_path': fields['drop_path_rate'],
        'pool': 'mean' if fields['use_mean_pooling'] else 'cls',
        'num_classes': num_labels(config),
    }
    scored = options['relative_bias'] or options['shared_bias']
    high, wide = (pair(options[name]) for name in ('image_size', 'patch_size'))
    if scored and (high[0] != high[1] or wide[0] != wide[1]):
        # transformers resizes a table of another shape to its own, to numbers nobody trained.
        raise UserError('config.json: BEiT with relative positions takes square images alone')
    return options


def _timm_options(config: JsonObject) -> dict[str, object]:
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    width, depth, heads = SIZES[named[1]]
    base = {
        'image_size': int(named[3]),
        'patch_size': int(named[2]),
        'width': width,
        'depth': depth,
        'heads': heads,
        'epsilon': 1e-6,
        'pool': 'mean',
    }
    arguments = {
        'img_size': 'image_size',
        'patch_size': 'patch_size',
        'embed_dim': 'width',
        'depth': 'depth',
        'num_heads': 'heads',
        'init_values': 'layer_scale',
        'use_abs_pos_emb': 'absolute_positions',
        'use_rel_pos_bias': 'relative_bias',
        'use_shared_rel_pos_bias': 'shared_bias',
    }
    return options_from_timm(config, base, arguments, pooled='avg')


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, BEiT)
    refuse(network, _no_place(network))
    fields = {k: v for k, v in vit_fields(network).items() if k != 'qkv_bias'}
    return {
        'model_type': 'beit',
        'architectures': ['BeitForImageClassification' if network.num_classes else 'BeitModel'],
        **fields,
        **{theirs: getattr(network, ours) for theirs, ours in _FLAGS.items()},
        'layer_scale_init_value': network.layer_scale or 0.0,
        'drop_path_rate': network.drop_path,
        'use_mean_pooling': network.pool == 'mean',
        'use_mask_token': False,
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: BEiT) -> str | None:
    if network.stem != 'patch' or not network.qkv_bias:
        return 'its BEiT has patches and biases'
    down, across = network.patch_grid
    if (network.relative_bias or network.shared_bias) and down != across:
        return 'its BEiT with relative positions takes square images'
    return None


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else half and half."""
    return pixels(config, pair(_options(config)['image_size']))
