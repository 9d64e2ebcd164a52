"""Phi-3, Phi-3.5 and Phi-4 (text) under the names of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.llama import Phi3
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import Fields, known
from ftjax.pretrained.families.decoders.decoder_config import (
    DECODER_INERT,
    DECODER_READS,
    ROTARY_READS,
    rotary_fields,
    rotary_options,
)
from ftjax.pretrained.families.decoders.llama import NORMS, decoder_map
from ftjax.pretrained.families.decoders.rope_config import (
    LONG_READS,
    ROPE_READS,
    longrope_fields,
    longrope_options,
)
from ftjax.pretrained.keymaps.hf_config import refuse
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule

FIELDS = {
    'phi3': Fields(
        reads=(
            *(*DECODER_READS, *ROTARY_READS, *ROPE_READS, *LONG_READS),
            *('hidden_act', 'resid_pdrop', 'sliding_window'),
        ),
        inert={**DECODER_INERT, 'embd_pdrop': 'read by nothing'},
    )
}


def key_map(config: JsonObject) -> KeyMap:
    """The map: queries, keys and values are stored as one, and so are gate and up."""
    fields = {**known('phi3').defaults, **config}
    heads = fields['num_attention_heads']
    groups = fields.get('num_key_value_heads') or heads
    depth = fields['hidden_size'] // heads
    fused = (
        Rule(
            'self_attn.qkv_proj.weight',
            tuple(f'attn/{part}/kernel' for part in ('query', 'key', 'value')),
            'dense',
            sizes=(heads * depth, groups * depth, groups * depth),
        ),
        Rule('mlp.gate_up_proj.weight', ('mlp/gate/kernel', 'mlp/up/kernel'), 'dense'),
    )
    return decoder_map('phi3', config, NORMS, fused)


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config: a classifier, a language model, or neither."""
    fields = {**known('phi3').defaults, **config, 'model_type': 'phi3'}
    options = {
        **rotary_options(fields, overrides),
        **longrope_options(fields),
        'dropout': fields['resid_pdrop'],
        'window': fields['sliding_window'],
    }
    return build('phi3', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, Phi3)
    refuse(network, _no_place(network))
    return {
        **rotary_fields(network, labels, prefix='Phi3'),
        **longrope_fields(network),
        'resid_pdrop': network.dropout,
        'embd_pdrop': 0.0,
        'sliding_window': network.window,
    }


def _no_place(network: Phi3) -> str | None:
    if network.qkv_bias or network.out_bias or network.mlp_bias or network.qk_norm:
        return 'its Phi-3 has no biases, and no norm on queries and keys'
    if network.window_from:
        return 'its Phi-3 has a window in all blocks or in none'
    if network.depth_of_head * network.heads != network.width:
        return 'heads of its Phi-3 share the width'
    if network.rope_scaling is not None and network.rope_scaling[0] != 'longrope':
        return "its Phi-3 has no scaling of positions but 'longrope'"
    return None
