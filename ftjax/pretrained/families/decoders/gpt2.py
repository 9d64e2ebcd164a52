"""GPT-2 under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.gpt2 import GPT2
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY, Fields
from ftjax.pretrained.families.decoders.decoder_config import (
    DECODER_INERT,
    DECODER_READS,
    UNUSED_HEADS,
    causal_option,
    decoder_fields,
    head_options,
    head_rules,
    is_base,
    token_options,
)
from ftjax.pretrained.keymaps.hf_config import read_activation, write_activation
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, norm

BLOCK = 'block_{block:02d}'
QKV = ('query', 'key', 'value')
_UNUSED = (
    *UNUSED_HEADS,
    r'h\.\d+\.attn\.(masked_)?bias',  # causal masks, in files older than 2023
    r'multiple_choice_head\..*',
)
_TOKENS = {'bos_token_id': 50256, 'eos_token_id': 50256}
_SUMMARY = ('type', 'use_proj', 'activation', 'first_dropout', 'last_dropout', 'proj_to_labels')
FIELDS = {
    'gpt2': Fields(
        reads=(
            *DECODER_READS,
            *('n_embd', 'n_layer', 'n_head', 'n_positions', 'n_inner', 'activation_function'),
            *('layer_norm_epsilon', 'resid_pdrop', 'attn_pdrop'),
        ),
        inert={
            **DECODER_INERT,
            **{f'summary_{name}': TASK_ONLY for name in _SUMMARY},
            'classifier_dropout': TASK_ONLY,
            'hidden_dropout': TASK_ONLY,
            'n_ctx': 'n_positions is read',
            'reorder_and_upcast_attn': 'rounding in float16 alone',
        },
        stand_ins={'embd_pdrop': 'resid_pdrop'},
    )
}


def _conv1d(source: str, path: str) -> tuple[Rule, ...]:
    """Rules of a linear layer that OpenAI stored as we do: weight (in, out) and bias."""
    return (Rule(f'{source}.weight', f'{path}/kernel'), Rule(f'{source}.bias', f'{path}/bias'))


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if is_base(config) else 'transformer.'
    layer = f'{base}h.{{block}}'
    attn = f'{layer}.attn.c_attn'
    rules = (
        Rule(f'{base}wte.weight', 'embed/word_embed/embedding'),
        Rule(f'{base}wpe.weight', 'embed/position_embed/embedding'),
        *norm(f'{layer}.ln_1', f'{BLOCK}/norm1'),
        Rule(f'{attn}.weight', tuple(f'{BLOCK}/attn/{part}/kernel' for part in QKV), split=1),
        Rule(f'{attn}.bias', tuple(f'{BLOCK}/attn/{part}/bias' for part in QKV)),
        *_conv1d(f'{layer}.attn.c_proj', f'{BLOCK}/attn/out'),
        *norm(f'{layer}.ln_2', f'{BLOCK}/norm2'),
        *_conv1d(f'{layer}.mlp.c_fc', f'{BLOCK}/mlp/fc1'),
        *_conv1d(f'{layer}.mlp.c_proj', f'{BLOCK}/mlp/fc2'),
        *norm(f'{base}ln_f', 'norm/norm'),
        *head_rules(config),
    )
    return KeyMap('gpt2', rules, _UNUSED, ('transformer.',))


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config: a classifier, a language model, or neither."""
    # The defaults are those of GPT2Config: config.json leaves out what equals them.
    options = {
        'vocab_size': config.get('vocab_size', 50257),
        'width': config.get('n_embd', 768),
        'depth': config.get('n_layer', 12),
        'heads': config.get('n_head', 12),
        'max_positions': config.get('n_positions', 1024),
        'mlp_dim': config.get('n_inner'),
        'act': read_activation(config.get('activation_function', 'gelu_new')),
        'epsilon': config.get('layer_norm_epsilon', 1e-5),
        'dropout': config.get('resid_pdrop', 0.1),
        'attention_dropout': config.get('attn_pdrop', 0.1),
        'tied': config.get('tie_word_embeddings', True),
        **causal_option(config),
        **token_options(config, _TOKENS),
        **head_options(config, overrides),
    }
    return build('gpt2', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, GPT2)
    act = write_activation(network.act)
    return {
        'model_type': 'gpt2',
        **decoder_fields(network, labels, prefix='GPT2', lm='LMHeadModel'),
        'n_embd': network.width,
        'n_layer': network.depth,
        'n_head': network.heads,
        'n_positions': network.max_positions,
        'n_ctx': network.max_positions,
        'n_inner': network.mlp_dim,
        'activation_function': 'gelu_new' if act == 'gelu_pytorch_tanh' else act,
        'layer_norm_epsilon': network.epsilon,
        'resid_pdrop': network.dropout,
        'embd_pdrop': network.dropout,
        'attn_pdrop': network.attention_dropout,
    }
