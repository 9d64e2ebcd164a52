"""MPNet under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.mpnet import MPNet
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields, known
from ftjax.pretrained.families.encoders.bert import (
    CLASSIFIER,
    UNUSED,
    ending,
    head_rules,
    no_head,
    tables,
)
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

PADDING = 1  # a number in the code of transformers, no field
FIELDS = {
    'mpnet': Fields(
        reads=(
            *('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'),
            *('intermediate_size', 'max_position_embeddings', 'hidden_act', 'layer_norm_eps'),
            *('hidden_dropout_prob', 'attention_probs_dropout_prob'),
        ),
        inert={'tie_word_embeddings': TASK_ONLY},
    )
}
_UNUSED = (*UNUSED, r'lm_head\..*', r'classifier\.(weight|bias)')


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'mpnet.', that of the class in the config first."""
    bases = ['mpnet.', '']
    if architecture(config) == 'MPNetModel':
        bases.reverse()
    head = head_rules(
        config,
        *dense('classifier.dense', 'head/hidden'),
        *dense('classifier.out_proj', 'head/dense'),
    )
    return tuple(KeyMap('mpnet', (*_trunk(base), *head), _UNUSED) for base in bases)


def _trunk(base: str) -> tuple[Rule, ...]:
    layer = f'{base}encoder.layer.{{block}}'
    parts = {'q': 'query', 'k': 'key', 'v': 'value', 'o': 'out'}
    return (
        *tables(f'{base}embeddings'),
        *norm(f'{base}embeddings.LayerNorm', 'embed/norm'),
        Rule(f'{base}encoder.relative_attention_bias.weight', 'embed/attn_bias/table'),
        *(
            rule
            for theirs, ours in parts.items()
            for rule in dense(f'{layer}.attention.attn.{theirs}', f'{BLOCK}/attn/{ours}')
        ),
        *norm(f'{layer}.attention.LayerNorm', f'{BLOCK}/norm1'),
        *dense(f'{layer}.intermediate.dense', f'{BLOCK}/mlp/fc1'),
        *dense(f'{layer}.output.dense', f'{BLOCK}/mlp/fc2'),
        *norm(f'{layer}.output.LayerNorm', f'{BLOCK}/norm2'),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config."""
    fields = {**known('mpnet').defaults, **config}
    options = {
        'vocab_size': fields['vocab_size'],
        'width': fields['hidden_size'],
        'depth': fields['num_hidden_layers'],
        'heads': fields['num_attention_heads'],
        'mlp_dim': fields['intermediate_size'],
        'max_positions': fields['max_position_embeddings'],
        'act': read_activation(fields['hidden_act']),
        'epsilon': fields['layer_norm_eps'],
        'dropout': fields['hidden_dropout_prob'],
        'attention_dropout': fields['attention_probs_dropout_prob'],
        'head_dropout': fields['hidden_dropout_prob'],
        'pad_id': PADDING,
        'num_classes': num_labels(config, CLASSIFIER),
    }
    return build('mpnet', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, MPNet)
    refuse(network, _no_place(network))
    return {
        'model_type': 'mpnet',
        'architectures': [f'MPNet{ending(network)}'],
        'vocab_size': network.vocab_size,
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'intermediate_size': network.mlp_dim,
        'max_position_embeddings': network.max_positions,
        'hidden_act': write_activation(network.act),
        'layer_norm_eps': network.epsilon,
        'hidden_dropout_prob': network.dropout,
        'attention_probs_dropout_prob': network.attention_dropout,
        'relative_attention_num_buckets': 32,
        'pad_token_id': PADDING,
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: MPNet) -> str | None:
    if (problem := no_head(network, 'cls')) is not None:
        return problem
    if network.token_types or network.embedding_size or network.pad_id != PADDING:
        return f'its MPNet has pad_id {PADDING}, no token_types and no embedding_size'
    if network.head_dropout != network.dropout:
        return 'its MPNet has one rate of dropout'
    return None
