"""Swin under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.swin import Swin
from ftjax.pretrained.config_fields import BACKBONE, Fields
from ftjax.pretrained.families.vision.vit import QKV
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    plain,
    read_activation,
    size,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm

FIELDS = {
    'swin': Fields(
        reads=(
            *('image_size', 'patch_size', 'num_channels', 'embed_dim', 'depths', 'num_heads'),
            *('window_size', 'mlp_ratio', 'hidden_act', 'qkv_bias', 'use_absolute_embeddings'),
            *('layer_norm_eps', 'hidden_dropout_prob', 'attention_probs_dropout_prob'),
            'drop_path_rate',
        ),
        inert={
            **BACKBONE,
            'encoder_stride': 'of masked image modelling',
            'num_layers': 'depths are read',
            'hidden_size': 'follows from embed_dim and depths',
            'path_norm': 'read by nothing',
        },
    )
}
_UNUSED = (
    r'.*\.relative_position_index',  # follows from the window
    r'embeddings\.mask_token',
    r'decoder\..*',
)


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if architecture(config) == 'SwinModel' else 'swin.'
    table = PositionTable('embed/pos_embed', 0, network_from_config(dict(config)).grid)
    return KeyMap('swin', rules(base), _UNUSED, ('swin.',), positions=(table,))


def rules(base: str) -> tuple[Rule, ...]:
    """Rules of Swin, and of V2 as far as they are the same."""
    layer, path = f'{base}encoder.layers.{{stage}}', 'stage{stage+1}_block{block}'
    block, attention = f'{layer}.blocks.{{block}}', f'{layer}.blocks.{{block}}.attention'
    return (
        *conv(f'{base}embeddings.patch_embeddings.projection', 'embed/patch_embed'),
        *norm(f'{base}embeddings.norm', 'embed/norm'),
        Rule(f'{base}embeddings.position_embeddings', 'embed/pos_embed'),
        *norm(f'{block}.layernorm_before', f'{path}/norm1'),
        *(rule for p in QKV for rule in dense(f'{attention}.self.{p}', f'{path}/attn/{p}')),
        Rule(f'{attention}.self.relative_position_bias_table', f'{path}/attn_bias/table'),
        *dense(f'{attention}.output.dense', f'{path}/attn/out'),
        *norm(f'{block}.layernorm_after', f'{path}/norm2'),
        *dense(f'{block}.intermediate.dense', f'{path}/mlp/fc1'),
        *dense(f'{block}.output.dense', f'{path}/mlp/fc2'),
        # There it ends a stage, here it begins the next.
        *norm(f'{layer}.downsample.norm', 'stage{stage+2}_block0/downsample/norm'),
        Rule(
            f'{layer}.downsample.reduction.weight',
            'stage{stage+2}_block0/downsample/reduction/kernel',
            'dense',
        ),
        *norm(f'{base}layernorm', 'norm/norm'),
        *dense('classifier', 'head/dense'),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config."""
    return build('swin', {**options(config), **overrides})


def options(config: JsonObject) -> dict[str, Any]:
    """The fields of the network of a config."""
    return {
        'image_size': size(config.get('image_size', 224)),
        'patch_size': size(config.get('patch_size', 4)),
        'channels': config.get('num_channels', 3),
        'width': config.get('embed_dim', 96),
        'depths': tuple(config.get('depths', (2, 2, 6, 2))),
        'heads': tuple(config.get('num_heads', (3, 6, 12, 24))),
        'window': config.get('window_size', 7),
        'mlp_ratio': config.get('mlp_ratio', 4.0),
        'act': read_activation(config.get('hidden_act', 'gelu')),
        'qkv_bias': config.get('qkv_bias', True),
        'absolute_positions': config.get('use_absolute_embeddings', False),
        'epsilon': config.get('layer_norm_eps', 1e-5),
        'dropout': config.get('hidden_dropout_prob', 0.0),
        'attention_dropout': config.get('attention_probs_dropout_prob', 0.0),
        'drop_path': config.get('drop_path_rate', 0.1),
        'num_classes': num_labels(config),
    }


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, Swin)
    return {
        'model_type': 'swin',
        'architectures': ['SwinForImageClassification' if network.num_classes else 'SwinModel'],
        'image_size': plain(network.image_size),
        'patch_size': plain(network.patch_size),
        'num_channels': network.channels,
        'embed_dim': network.width,
        'depths': list(network.depths),
        'num_heads': list(network.heads),
        'window_size': network.window,
        'mlp_ratio': network.mlp_ratio,
        'hidden_act': write_activation(network.act),
        'qkv_bias': network.qkv_bias,
        'use_absolute_embeddings': network.absolute_positions,
        'layer_norm_eps': network.epsilon,
        'hidden_dropout_prob': network.dropout,
        'attention_probs_dropout_prob': network.attention_dropout,
        'drop_path_rate': network.drop_path,
        **label_fields(network.num_classes, labels),
    }
