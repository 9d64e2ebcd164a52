"""ALBERT under the names of transformers: one block, or few, that run many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.bert import ALBERT
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields, known
from ftjax.pretrained.families.encoders.bert import (
    CLASSIFIER,
    POOLER,
    UNUSED,
    encoder_fields,
    tables,
)
from ftjax.pretrained.families.vision.vit import BLOCK, QKV
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    num_labels,
    read_activation,
    refuse,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

FIELDS = {
    'albert': Fields(
        reads=(
            *('vocab_size', 'embedding_size', 'hidden_size', 'num_hidden_layers'),
            *('num_hidden_groups', 'num_attention_heads', 'intermediate_size', 'hidden_act'),
            *('hidden_dropout_prob', 'max_position_embeddings', 'type_vocab_size'),
            *('layer_norm_eps', 'classifier_dropout_prob', 'attention_probs_dropout_prob'),
        ),
        inert={
            'tie_word_embeddings': TASK_ONLY,
            'classifier_dropout': 'classifier_dropout_prob is read',
            'down_scale_factor': 'read by nothing',
            'gap_size': 'read by nothing',
            'net_structure_type': 'read by nothing',
            'num_memory_blocks': 'read by nothing',
        },
    )
}
_UNUSED = (*UNUSED, r'(\w+\.)?pooler\.(weight|bias)', r'(predictions|sop_classifier)\..*')


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'albert.', that of the class in the config first."""
    bases = ['albert.', '']
    if architecture(config) == 'AlbertModel':
        bases.reverse()
    head = dense('classifier', 'head/dense')
    return tuple(KeyMap('albert', (*_trunk(base), *head), _UNUSED, (), (POOLER,)) for base in bases)


def _trunk(base: str) -> tuple[Rule, ...]:
    layer = f'{base}encoder.albert_layer_groups.{{block}}.albert_layers.0'
    return (
        *tables(f'{base}embeddings'),
        Rule(f'{base}embeddings.token_type_embeddings.weight', 'embed/type_embed/embedding'),
        *norm(f'{base}embeddings.LayerNorm', 'embed/norm'),
        *dense(f'{base}encoder.embedding_hidden_mapping_in', 'embed/project'),
        *(rule for p in QKV for rule in dense(f'{layer}.attention.{p}', f'{BLOCK}/attn/{p}')),
        *dense(f'{layer}.attention.dense', f'{BLOCK}/attn/out'),
        *norm(f'{layer}.attention.LayerNorm', f'{BLOCK}/norm1'),
        *dense(f'{layer}.ffn', f'{BLOCK}/mlp/fc1'),
        *dense(f'{layer}.ffn_output', f'{BLOCK}/mlp/fc2'),
        *norm(f'{layer}.full_layer_layer_norm', f'{BLOCK}/norm2'),
        *dense(f'{base}pooler', 'pooler/dense'),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config."""
    fields = {**known('albert').defaults, **config}
    options = {
        'vocab_size': fields['vocab_size'],
        'embedding_size': fields['embedding_size'],
        'width': fields['hidden_size'],
        'depth': fields['num_hidden_layers'],
        'groups': fields['num_hidden_groups'],
        'heads': fields['num_attention_heads'],
        'mlp_dim': fields['intermediate_size'],
        'act': read_activation(fields['hidden_act']),
        'dropout': fields['hidden_dropout_prob'],
        'attention_dropout': fields['attention_probs_dropout_prob'],
        'head_dropout': fields['classifier_dropout_prob'],
        'max_positions': fields['max_position_embeddings'],
        'token_types': fields['type_vocab_size'],
        'epsilon': fields['layer_norm_eps'],
        'num_classes': num_labels(config, CLASSIFIER),
    }
    return build('albert', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ALBERT)
    size = network.embedding_size or network.width
    refuse(network, 'its ALBERT counts all positions' if network.pad_id is not None else None)
    fields = encoder_fields(network, 'Albert', labels, pool='pooler')
    del fields['classifier_dropout']
    return {
        'model_type': 'albert',
        **fields,
        'embedding_size': size,
        'num_hidden_groups': network.groups,
        'classifier_dropout_prob': network.head_dropout,
        'pad_token_id': 0,
    }
