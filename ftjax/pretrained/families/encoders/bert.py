"""BERT and MiniLM under the names of transformers; what its relatives share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.bert import BERT
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields
from ftjax.pretrained.families.vision.vit import BLOCK, QKV
from ftjax.pretrained.keymaps.hf_config import (
    TAGGER,
    architecture,
    label_fields,
    num_labels,
    read_activation,
    refuse,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

CLASSIFIER = 'ForSequenceClassification'
# Rightly left over, after any prefix: positions that count up, heads of other tasks, a pooler
# that the network goes without.
UNUSED = (r'(\w+\.)?embeddings\.position_ids', r'(\w+\.)?pooler\.dense\..*', r'qa_outputs\..*')
POOLER = r'pooler/.*'
_READS = (
    *('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'),
    *('intermediate_size', 'max_position_embeddings', 'type_vocab_size', 'hidden_act'),
    *('layer_norm_eps', 'hidden_dropout_prob', 'attention_probs_dropout_prob'),
    'classifier_dropout',
)
_INERT = {
    'tie_word_embeddings': TASK_ONLY,
    'directionality': 'of TensorFlow, read by nothing',
    'pooler_type': 'of TensorFlow, read by nothing',
    'pooler_fc_size': 'of TensorFlow, read by nothing',
    'pooler_num_attention_heads': 'of TensorFlow, read by nothing',
    'pooler_num_fc_layers': 'of TensorFlow, read by nothing',
    'pooler_size_per_head': 'of TensorFlow, read by nothing',
}


def encoder_declared(*reads: str, **inert: str) -> Fields:
    """The fields of BERT or a relative: `reads` and `inert` beyond BERT's."""
    return Fields(reads=(*_READS, *reads), inert={**_INERT, **inert})


NO_PROJECTION = 'of a check of sizes alone'
FIELDS = {'bert': encoder_declared(embedding_size=NO_PROJECTION)}


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'bert.', and for those of LayerNorm in old files."""
    return key_maps('bert', config, dense('classifier', 'head/dense'), (r'cls\..*',))


def key_maps(
    family: str, config: Mapping[str, object], head: tuple[Rule, ...], unused: tuple[str, ...]
) -> tuple[KeyMap, ...]:
    """The maps of BERT or a relative, that of the class in the config first.

    Which names a file has does not follow from its class: MiniLM's have no prefix, and the
    first BERTs' norms have gamma and beta, as in TensorFlow.
    """
    bases = [f'{family}.', '']
    if architecture(config).endswith('Model'):
        bases.reverse()
    initialisable = (POOLER,) if family in ('bert', 'roberta') else ()
    return tuple(
        KeyMap(family, (*_trunk(base, old), *head), (*UNUSED, *unused), (), initialisable)
        for old, base in itertools.product((False, True), bases)
    )


def _trunk(base: str, old: bool) -> tuple[Rule, ...]:
    """Rules of everything but the head; `old` for norms with gamma and beta."""
    layer = f'{base}encoder.layer.{{block}}'

    def layer_norm(source, path):
        if not old:
            return norm(f'{source}.LayerNorm', path)
        return (
            Rule(f'{source}.LayerNorm.gamma', f'{path}/scale'),
            Rule(f'{source}.LayerNorm.beta', f'{path}/bias'),
        )

    return (
        *tables(f'{base}embeddings'),
        Rule(f'{base}embeddings.token_type_embeddings.weight', 'embed/type_embed/embedding'),
        *layer_norm(f'{base}embeddings', 'embed/norm'),
        *dense(f'{base}embeddings_project', 'embed/project'),
        *(
            rule
            for part in QKV
            for rule in dense(f'{layer}.attention.self.{part}', f'{BLOCK}/attn/{part}')
        ),
        *dense(f'{layer}.attention.output.dense', f'{BLOCK}/attn/out'),
        *layer_norm(f'{layer}.attention.output', f'{BLOCK}/norm1'),
        *dense(f'{layer}.intermediate.dense', f'{BLOCK}/mlp/fc1'),
        *dense(f'{layer}.output.dense', f'{BLOCK}/mlp/fc2'),
        *layer_norm(f'{layer}.output', f'{BLOCK}/norm2'),
        *dense(f'{base}pooler.dense', 'pooler/dense'),
    )


def tables(source: str) -> tuple[Rule, ...]:
    """Rules of the tables of words and positions."""
    return (
        Rule(f'{source}.word_embeddings.weight', 'embed/word_embed/embedding'),
        Rule(f'{source}.position_embeddings.weight', 'embed/position_embed/embedding'),
    )


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config."""
    return build('bert', {**encoder_options(config), **overrides})


def encoder_options(config: JsonObject, **defaults: object) -> dict[str, object]:
    """The fields that BERT and its relatives name alike; `defaults` where not BERT's."""
    config = {**defaults, **config}
    dropout = config.get('hidden_dropout_prob', 0.1)
    head_dropout = config.get('classifier_dropout')
    return {
        'vocab_size': config.get('vocab_size', 30522),
        'width': config.get('hidden_size', 768),
        'depth': config.get('num_hidden_layers', 12),
        'heads': config.get('num_attention_heads', 12),
        'mlp_dim': config.get('intermediate_size', 3072),
        'max_positions': config.get('max_position_embeddings', 512),
        'token_types': config.get('type_vocab_size', 2),
        'act': read_activation(config.get('hidden_act', 'gelu')),
        'epsilon': config.get('layer_norm_eps', 1e-12),
        'dropout': dropout,
        'attention_dropout': config.get('attention_probs_dropout_prob', 0.1),
        'head_dropout': dropout if head_dropout is None else head_dropout,
        'num_classes': num_labels(config, CLASSIFIER),
    }


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, BERT)
    refuse(network, 'its BERT has no embedding_size' if network.embedding_size else None)
    refuse(network, 'its BERT counts all positions' if network.pad_id is not None else None)
    return {
        'model_type': 'bert',
        **encoder_fields(network, 'Bert', labels, pool='pooler'),
        'pad_token_id': 0,
    }


def ending(network: Network) -> str:
    """What the name of its class in transformers ends in."""
    if network.head_kind == 'tags':
        return TAGGER
    return CLASSIFIER if network.num_classes else 'Model'


def no_head(network: BERT, pool: str) -> str | None:
    """Why transformers has no head like this; `pool` is what its classifier has."""
    if network.num_classes and network.pool not in (pool, 'none'):
        return f'its classifier takes pool {pool!r}, not {network.pool!r}'
    if network.head_kind == 'vector' and network.vector_dim:
        return 'it has no linear layer after the pool (vector_dim)'
    return None


def head_rules(config: JsonObject, *rules: Rule) -> tuple[Rule, ...]:
    """Rules of the head of a classifier; of one that answers for tokens, which has one layer."""
    if architecture(config).endswith(TAGGER):
        return dense('classifier', 'head/dense')
    return rules


def encoder_fields(
    network: BERT, name: str, labels: Sequence[str], *, pool: str
) -> dict[str, object]:
    """The inverse of `encoder_options`; `pool` is what the classifier in transformers has."""
    refuse(network, no_head(network, pool))
    refuse(network, 'it has token types' if not network.token_types else None)
    return {
        'architectures': [f'{name}{ending(network)}'],
        'vocab_size': network.vocab_size,
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'intermediate_size': network.mlp_dim,
        'max_position_embeddings': network.max_positions,
        'type_vocab_size': network.token_types,
        'hidden_act': write_activation(network.act),
        'layer_norm_eps': network.epsilon,
        'hidden_dropout_prob': network.dropout,
        'attention_probs_dropout_prob': network.attention_dropout,
        'classifier_dropout': network.head_dropout,
        **label_fields(network.num_classes, labels),
    }
