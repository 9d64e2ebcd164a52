"""ModernBERT under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.modernbert import ModernBERT
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields, known
from ftjax.pretrained.families.decoders.rope_config import LAYERED, layered_rope, scaling_fields
from ftjax.pretrained.families.encoders.bert import CLASSIFIER, ending
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    read_activation,
    refuse,
    write_activation,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

BLOCK = 'block_{block:02d}'
_INITIAL = 'of random initial weights'
_THETAS = {
    'full_attention': ('global_rope_theta', 160000.0),
    'sliding_attention': ('local_rope_theta', 10000.0),
}
FIELDS = {
    'modernbert': Fields(
        reads=(
            *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
            *('num_attention_heads', 'hidden_activation', 'max_position_embeddings', 'norm_eps'),
            *('norm_bias', 'attention_bias', 'mlp_bias', 'layer_types', 'local_attention'),
            *('global_attn_every_n_layers', 'global_rope_theta', 'local_rope_theta'),
            *('rope_parameters', 'rope_scaling', 'partial_rotary_factor', 'embedding_dropout'),
            *('classifier_pooling', 'classifier_dropout', 'classifier_bias'),
            *('classifier_activation', 'pad_token_id', 'attention_dropout', 'mlp_dropout'),
        ),
        inert={
            'layer_norm_eps': 'norm_eps is read',
            'initializer_cutoff_factor': _INITIAL,
            'cls_token_id': 'of the tokenizer',
            'sep_token_id': 'of the tokenizer',
            'decoder_bias': TASK_ONLY,
            'tie_word_embeddings': TASK_ONLY,
            'sparse_prediction': TASK_ONLY,
            'sparse_pred_ignore_index': TASK_ONLY,
            'deterministic_flash_attn': 'how attention is computed, not what',
            'reference_compile': 'how the model is run, not what it computes',
            'repad_logits_with_grad': 'how the model is run, not what it computes',
        },
    )
}
# A language model's head, and what it shares with a classifier's where there is none.
_UNUSED = (r'decoder\..*', r'head\..*')


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if architecture(config) == 'ModernBertModel' else 'model.'
    layer, mlp = f'{base}layers.{{block}}', f'{BLOCK}/mlp'
    attention = tuple(f'{BLOCK}/attn/{part}' for part in ('query', 'key', 'value'))
    rules = (
        Rule(f'{base}embeddings.tok_embeddings.weight', 'embed/word_embed/embedding'),
        *norm(f'{base}embeddings.norm', 'embed/norm'),
        *norm(f'{layer}.attn_norm', f'{BLOCK}/norm1'),
        *_fused(f'{layer}.attn.Wqkv', attention),
        *dense(f'{layer}.attn.Wo', f'{BLOCK}/attn/out'),
        *norm(f'{layer}.mlp_norm', f'{BLOCK}/norm2'),
        *_fused(f'{layer}.mlp.Wi', (f'{mlp}/gate', f'{mlp}/up')),
        *dense(f'{layer}.mlp.Wo', f'{mlp}/down'),
        *norm(f'{base}final_norm', 'norm/norm'),
        *dense('head.dense', 'pooler/dense'),
        *norm('head.norm', 'pooler/norm'),
        *dense('classifier', 'head/dense'),
    )
    return KeyMap('modernbert', rules, _UNUSED, ('model.',), (r'pooler/.*',))


def _fused(source: str, paths: tuple[str, ...]) -> tuple[Rule, ...]:
    """Rules of layers that are stored as one."""
    return (
        Rule(f'{source}.weight', tuple(f'{path}/kernel' for path in paths), 'dense'),
        Rule(f'{source}.bias', tuple(f'{path}/bias' for path in paths)),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config.

    Raises:
      UserError: a scaling of positions or a pattern of windows that is not known here.
    """
    fields = {**known('modernbert').defaults, **config}
    full, local = (layered_rope(fields, _THETAS, LAYERED)[name] for name in LAYERED)
    if 'rope_scaling' in local:
        raise UserError('config.json: rotary scaling of sliding_attention is not supported')
    depth = fields['num_hidden_layers']
    options = {
        'vocab_size': fields['vocab_size'],
        'width': fields['hidden_size'],
        'depth': depth,
        'heads': fields['num_attention_heads'],
        'mlp_dim': fields['intermediate_size'],
        'max_positions': fields['max_position_embeddings'],
        'pool': fields['classifier_pooling'],
        'act': read_activation(fields['hidden_activation']),
        'pooler_act': read_activation(fields['classifier_activation']),
        'epsilon': fields['norm_eps'],
        'norm_bias': fields['norm_bias'],
        'qkv_bias': fields['attention_bias'],
        'mlp_bias': fields['mlp_bias'],
        'pooler_bias': fields['classifier_bias'],
        'window': fields['local_attention'] // 2,
        'full_blocks': full_blocks(fields, depth),
        **full,
        'local_theta': local['rope_theta'],
        'dropout': fields['embedding_dropout'],
        'attention_dropout': fields['attention_dropout'],
        'mlp_dropout': fields['mlp_dropout'],
        'head_dropout': fields['classifier_dropout'],
        'pad_id': fields['pad_token_id'],
        'num_classes': num_labels(config, CLASSIFIER),
    }
    return build('modernbert', {**options, **overrides})


def full_blocks(fields: JsonObject, depth: int) -> tuple[int, ...]:
    """The blocks without a window: those of `layer_types`, or every so many."""
    every = fields.get('global_attn_every_n_layers', 3)
    types = fields['layer_types'] or [LAYERED[i % every > 0] for i in range(depth)]
    if len(types) != depth or set(types) - set(LAYERED):
        raise UserError(
            f'config.json: layer_types must be {depth} times one of {" and ".join(LAYERED)}'
        )
    return tuple(index for index, name in enumerate(types) if name == LAYERED[0])


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ModernBERT)
    problem = 'its padding is one of the tokens' if network.pad_id == -1 else None
    refuse(network, problem)
    return {
        'model_type': 'modernbert',
        'architectures': [f'ModernBert{ending(network)}'],
        'vocab_size': network.vocab_size,
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'intermediate_size': network.mlp_dim,
        'max_position_embeddings': network.max_positions,
        'classifier_pooling': 'cls' if network.pool == 'none' else network.pool,
        'hidden_activation': write_activation(network.act),
        'classifier_activation': write_activation(network.pooler_act),
        'norm_eps': network.epsilon,
        'norm_bias': network.norm_bias,
        'attention_bias': network.qkv_bias,
        'mlp_bias': network.mlp_bias,
        'classifier_bias': network.pooler_bias,
        'local_attention': 2 * network.window,
        'layer_types': [LAYERED[index not in network.full] for index in range(network.depth)],
        'rope_parameters': {
            LAYERED[0]: {
                **scaling_fields(network.rope_scaling),
                'rope_theta': network.rope_theta,
            },
            LAYERED[1]: {'rope_type': 'default', 'rope_theta': network.local_theta},
        },
        'embedding_dropout': network.dropout,
        'classifier_dropout': network.head_dropout,
        'attention_dropout': network.attention_dropout,
        'mlp_dropout': network.mlp_dropout,
        'pad_token_id': network.pad_id,
        **label_fields(network.num_classes, labels),
    }
