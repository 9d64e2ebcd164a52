"""DeBERTa V2 and V3, which are one model type, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.encoders.deberta import KINDS, DeBERTa
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields, known
from ftjax.pretrained.families.encoders.bert import CLASSIFIER, POOLER, ending, no_head, tables
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

FIELDS = {
    'deberta-v2': Fields(
        reads=(
            *('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads'),
            *('intermediate_size', 'max_position_embeddings', 'type_vocab_size', 'hidden_act'),
            *('layer_norm_eps', 'hidden_dropout_prob', 'cls_dropout', 'embedding_size'),
            *('relative_attention', 'pos_att_type', 'position_buckets', 'share_att_key'),
            *('max_relative_positions', 'position_biased_input', 'norm_rel_ebd'),
            *('conv_kernel_size', 'conv_act', 'conv_groups', 'pooler_dropout'),
            *('pooler_hidden_act', 'pooler_hidden_size', 'attention_head_size'),
            'attention_probs_dropout_prob',
        ),
        inert={'legacy': TASK_ONLY, 'tie_word_embeddings': TASK_ONLY},
    )
}
_UNUSED = (
    r'(\w+\.)?embeddings\.position_ids',
    r'pooler\.dense\..*',  # where the network goes without
    r'(lm_predictions|mask_predictions|cls)\..*',  # heads of other tasks
    r'qa_outputs\..*',
)
_PARTS = {
    'query_proj': 'query',
    'key_proj': 'key',
    'value_proj': 'value',
    'pos_key_proj': 'position_key',
    'pos_query_proj': 'position_query',
}


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'deberta.', that of the class in the config first."""
    bases = ['deberta.', '']
    if architecture(config) == 'DebertaV2Model':
        bases.reverse()
    unused = _UNUSED
    if not config.get('position_biased_input', True):
        unused += (r'(\w+\.)?embeddings\.position_embeddings\.weight',)  # in published files
    return tuple(KeyMap('deberta', _rules(base), unused, (), (POOLER,)) for base in bases)


def _rules(base: str) -> tuple[Rule, ...]:
    layer, encoder = f'{base}encoder.layer.{{block}}', f'{base}encoder'
    first = 'block_00'
    return (
        *tables(f'{base}embeddings'),
        Rule(f'{base}embeddings.token_type_embeddings.weight', 'embed/type_embed/embedding'),
        *dense(f'{base}embeddings.embed_proj', 'embed/project', bias=False),
        *norm(f'{base}embeddings.LayerNorm', 'embed/norm'),
        Rule(f'{encoder}.rel_embeddings.weight', 'embed/relative_embed/embedding'),
        *norm(f'{encoder}.LayerNorm', 'embed/relative_norm'),
        Rule(f'{encoder}.conv.conv.weight', f'{first}/conv/kernel', 'conv1d'),
        Rule(f'{encoder}.conv.conv.bias', f'{first}/conv/bias'),
        *norm(f'{encoder}.conv.LayerNorm', f'{first}/conv_norm'),
        *(
            rule
            for theirs, ours in _PARTS.items()
            for rule in dense(f'{layer}.attention.self.{theirs}', f'{BLOCK}/attn/{ours}')
        ),
        *dense(f'{layer}.attention.output.dense', f'{BLOCK}/attn/out'),
        *norm(f'{layer}.attention.output.LayerNorm', f'{BLOCK}/norm1'),
        *dense(f'{layer}.intermediate.dense', f'{BLOCK}/mlp/fc1'),
        *dense(f'{layer}.output.dense', f'{BLOCK}/mlp/fc2'),
        *norm(f'{layer}.output.LayerNorm', f'{BLOCK}/norm2'),
        *dense('pooler.dense', 'pooler/dense'),
        *dense('classifier', 'head/dense'),
    )


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config.

    Raises:
      UserError: sizes that do not go together.
    """
    fields = {**known('deberta-v2').defaults, **config}
    width, heads = fields['hidden_size'], fields['num_attention_heads']
    for name, size in (('attention_head_size', width // heads), ('pooler_hidden_size', width)):
        if fields.get(name, size) != size:
            raise UserError(f'config.json: {name} {fields[name]} is not supported, {size} would be')
    relative = fields['relative_attention']
    normed = 'layer_norm' in fields.get('norm_rel_ebd', 'none').lower()
    dropout, head_dropout = fields['hidden_dropout_prob'], fields.get('cls_dropout')
    if overrides.get('pool') == 'none':
        head_dropout = None  # the class that answers for tokens has none of its own
    options = {
        'vocab_size': fields['vocab_size'],
        'width': width,
        'depth': fields['num_hidden_layers'],
        'heads': heads,
        'mlp_dim': fields['intermediate_size'],
        'max_positions': fields['max_position_embeddings'],
        'token_types': fields['type_vocab_size'],
        'embedding_size': fields.get('embedding_size'),
        'act': read_activation(fields['hidden_act']),
        'epsilon': fields['layer_norm_eps'],
        'dropout': dropout,
        'attention_dropout': fields['attention_probs_dropout_prob'],
        'head_dropout': dropout if head_dropout is None else head_dropout,
        'absolute_positions': fields['position_biased_input'],
        'relative': relative,
        'kinds': _kinds(fields['pos_att_type']),
        'buckets': max(fields.get('position_buckets', -1), 0) if relative else 0,
        'farthest': max(fields['max_relative_positions'], 0) if relative else 0,
        'share_keys': fields.get('share_att_key', False),
        'relative_norm': relative and normed,
        'conv_size': max(fields.get('conv_kernel_size', 0), 0),
        'conv_act': read_activation(fields.get('conv_act', 'tanh')),
        'conv_groups': fields.get('conv_groups', 1),
        'pooler_act': read_activation(fields['pooler_hidden_act']),
        'pooler_dropout': fields['pooler_dropout'],
        'num_classes': num_labels(config, CLASSIFIER),
    }
    return build('deberta', {**options, **overrides})


def _kinds(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """'p2c|c2p', as in published files, or a list."""
    names = value.lower().split('|') if isinstance(value, str) else value or ()
    names = tuple(name.strip() for name in names)
    if len(set(names)) != len(names) or set(names) - set(KINDS):
        raise UserError(f'config.json: pos_att_type {value!r} may name c2p and p2c, once each')
    return names


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, DeBERTa)
    refuse(network, _no_place(network))
    size = network.embedding_size or network.width
    return {
        'model_type': 'deberta-v2',
        'architectures': [f'DebertaV2{ending(network)}'],
        'vocab_size': network.vocab_size,
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'intermediate_size': network.mlp_dim,
        'max_position_embeddings': network.max_positions,
        'type_vocab_size': network.token_types,
        **({} if size == network.width else {'embedding_size': size}),
        'hidden_act': write_activation(network.act),
        'layer_norm_eps': network.epsilon,
        'hidden_dropout_prob': network.dropout,
        'attention_probs_dropout_prob': network.attention_dropout,
        'cls_dropout': network.head_dropout,
        'position_biased_input': network.absolute_positions,
        'relative_attention': network.relative,
        'pos_att_type': list(network.kinds),
        'position_buckets': network.buckets or -1,
        'max_relative_positions': network.farthest or -1,
        'share_att_key': network.share_keys,
        'norm_rel_ebd': 'layer_norm' if network.relative_norm else 'none',
        'conv_kernel_size': network.conv_size,
        'conv_act': write_activation(network.conv_act),
        'conv_groups': network.conv_groups,
        'pooler_hidden_act': write_activation(network.pooler_act),
        'pooler_dropout': network.pooler_dropout,
        'pooler_hidden_size': network.width,
        'pad_token_id': 0,
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: DeBERTa) -> str | None:
    if (problem := no_head(network, 'pooler')) is not None:
        return problem
    if network.pad_id is not None:
        return 'its DeBERTa counts all positions'
    return None
