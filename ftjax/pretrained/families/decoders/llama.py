"""Llama, Mistral, Qwen2 and Qwen3 under the names of transformers; what relatives share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ftjax.pretrained.families.decoders.decoder_config import UNUSED_HEADS, head_rules, is_base
from ftjax.pretrained.families.decoders.llama_config import (
    FIELDS,
    config_from_network,
    network_from_config,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, dense, norm

__all__ = ['FIELDS', 'config_from_network', 'key_map', 'network_from_config']

BLOCK = 'block_{block:02d}'
_UNUSED = (*UNUSED_HEADS, r'(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq')
NORMS = {'input_layernorm': 'norm1', 'post_attention_layernorm': 'norm2'}
_ATTENTION = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value', 'o_proj': 'out'}
_MLP = {'gate_proj': 'gate', 'up_proj': 'up', 'down_proj': 'down'}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    return decoder_map('llama', config, NORMS)


def decoder_map(
    family: str,
    config: Mapping[str, object],
    norms: Mapping[str, str],
    fused: tuple[Rule, ...] = (),
) -> KeyMap:
    """The map of Llama or a relative.

    Args:
      family: its name.
      config: of the checkpoint.
      norms: names of a block's norms -> ours.
      fused: rules, relative to a block, of layers that are stored as one: tried first.
    """
    base = '' if is_base(config) else 'model.'
    layer = f'{base}layers.{{block}}'
    parts = {
        **{f'self_attn.{theirs}': f'attn/{ours}' for theirs, ours in _ATTENTION.items()},
        **{f'mlp.{theirs}': f'mlp/{ours}' for theirs, ours in _MLP.items()},
    }
    return KeyMap(
        family,
        (
            Rule(f'{base}embed_tokens.weight', 'embed/word_embed/embedding'),
            *(_within(layer, rule) for rule in fused),
            *(
                rule
                for theirs, ours in {
                    **norms,
                    'self_attn.q_norm': 'attn/query_norm',
                    'self_attn.k_norm': 'attn/key_norm',
                }.items()
                for rule in norm(f'{layer}.{theirs}', f'{BLOCK}/{ours}', bias=False)
            ),
            *(
                rule
                for theirs, ours in parts.items()
                for rule in dense(f'{layer}.{theirs}', f'{BLOCK}/{ours}')
            ),
            *norm(f'{base}norm', 'norm/norm', bias=False),
            *head_rules(config),
        ),
        _UNUSED,
        ('model.', 'transformer.'),  # the latter in the class that answers questions
    )


def _within(layer: str, rule: Rule) -> Rule:
    return dataclasses.replace(
        rule,
        source=f'{layer}.{rule.source}',
        path=tuple(f'{BLOCK}/{path}' for path in rule.paths),
    )
