"""Llama, Mistral, Qwen2 and Qwen3 under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.pretrained.families.decoder_config import UNUSED_HEADS, head_rules, is_base
from ftjax.pretrained.families.llama_config import FIELDS, config_from_network, network_from_config
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

__all__ = ['FIELDS', 'config_from_network', 'key_map', 'network_from_config']

BLOCK = 'block_{block:02d}'
_UNUSED = (*UNUSED_HEADS, r'(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq')
_ATTENTION = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value', 'o_proj': 'out'}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    base = '' if is_base(config) else 'model.'
    layer = f'{base}layers.{{block}}'
    rules = (
        Rule(f'{base}embed_tokens.weight', 'embed/word_embed/embedding'),
        *norm(f'{layer}.input_layernorm', f'{BLOCK}/norm1', bias=False),
        *(
            rule
            for theirs, ours in _ATTENTION.items()
            for rule in dense(f'{layer}.self_attn.{theirs}', f'{BLOCK}/attn/{ours}')
        ),
        *norm(f'{layer}.self_attn.q_norm', f'{BLOCK}/attn/query_norm', bias=False),
        *norm(f'{layer}.self_attn.k_norm', f'{BLOCK}/attn/key_norm', bias=False),
        *norm(f'{layer}.post_attention_layernorm', f'{BLOCK}/norm2', bias=False),
        *(
            rule
            for part in ('gate', 'up', 'down')
            for rule in dense(f'{layer}.mlp.{part}_proj', f'{BLOCK}/mlp/{part}')
        ),
        *norm(f'{base}norm', 'norm/norm', bias=False),
        *head_rules(config),
    )
    return KeyMap('llama', rules, _UNUSED, ('model.',))
