"""DistilBERT under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.bert import DistilBERT
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields
from ftjax.pretrained.families.encoders.bert import CLASSIFIER, UNUSED, ending, no_head, tables
from ftjax.pretrained.families.vision.vit import BLOCK
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    read_activation,
    refuse,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

EPSILON = 1e-12
FIELDS = {
    'distilbert': Fields(
        reads=(
            *('vocab_size', 'dim', 'n_layers', 'n_heads', 'hidden_dim', 'activation'),
            *('max_position_embeddings', 'dropout', 'attention_dropout'),
            'seq_classif_dropout',
        ),
        inert={
            'sinusoidal_pos_embds': 'the file has the table of positions either way',
            'tie_word_embeddings': TASK_ONLY,
            'qa_dropout': TASK_ONLY,
        },
    )
}
_UNUSED = (*UNUSED, r'vocab_(transform|layer_norm|projector)\..*')


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'distilbert.', the class's own first."""
    bases = ['distilbert.', '']
    if architecture(config).endswith('Model'):
        bases.reverse()
    head = (*dense('pre_classifier', 'head/hidden'), *dense('classifier', 'head/dense'))
    return tuple(KeyMap('distilbert', (*_trunk(base), *head), _UNUSED) for base in bases)


def _trunk(base: str) -> tuple[Rule, ...]:
    layer = f'{base}transformer.layer.{{block}}'
    parts = {'q_lin': 'query', 'k_lin': 'key', 'v_lin': 'value', 'out_lin': 'out'}
    return (
        *tables(f'{base}embeddings'),
        *norm(f'{base}embeddings.LayerNorm', 'embed/norm'),
        *(
            rule
            for theirs, ours in parts.items()
            for rule in dense(f'{layer}.attention.{theirs}', f'{BLOCK}/attn/{ours}')
        ),
        *norm(f'{layer}.sa_layer_norm', f'{BLOCK}/norm1'),
        *dense(f'{layer}.ffn.lin1', f'{BLOCK}/mlp/fc1'),
        *dense(f'{layer}.ffn.lin2', f'{BLOCK}/mlp/fc2'),
        *norm(f'{layer}.output_layer_norm', f'{BLOCK}/norm2'),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config; sinusoidal positions are stored, so they load as learned ones."""
    dropout = config.get('dropout', 0.1)
    of_tags = overrides.get('pool') == 'none'  # whose class has no dropout of its own
    options = {
        'vocab_size': config.get('vocab_size', 30522),
        'width': config.get('dim', 768),
        'depth': config.get('n_layers', 6),
        'heads': config.get('n_heads', 12),
        'mlp_dim': config.get('hidden_dim', 3072),
        'max_positions': config.get('max_position_embeddings', 512),
        'act': read_activation(config.get('activation', 'gelu')),
        'epsilon': EPSILON,
        'dropout': dropout,
        'attention_dropout': config.get('attention_dropout', 0.1),
        'head_dropout': dropout if of_tags else config.get('seq_classif_dropout', 0.2),
        'num_classes': num_labels(config, CLASSIFIER),
    }
    return build('distilbert', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, DistilBERT)
    refuse(network, _no_place(network))
    return {
        'model_type': 'distilbert',
        'architectures': [f'DistilBert{ending(network)}'],
        'vocab_size': network.vocab_size,
        'dim': network.width,
        'n_layers': network.depth,
        'n_heads': network.heads,
        'hidden_dim': network.mlp_dim,
        'max_position_embeddings': network.max_positions,
        'activation': write_activation(network.act),
        'dropout': network.dropout,
        'attention_dropout': network.attention_dropout,
        'seq_classif_dropout': network.head_dropout,
        'pad_token_id': 0,
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: DistilBERT) -> str | None:
    if (problem := no_head(network, 'cls')) is not None:
        return problem
    if network.token_types or network.embedding_size or network.pad_id is not None:
        return 'its DistilBERT has no token_types, embedding_size or pad_id'
    if network.epsilon != EPSILON:
        return f'its DistilBERT has epsilon {EPSILON}'
    return None
