"""OLMo 2 under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.llama import OLMo2
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
from ftjax.pretrained.families.decoders.llama import decoder_map
from ftjax.pretrained.families.decoders.rope_config import ROPE_READS, rope_fields, rope_options
from ftjax.pretrained.keymaps.hf_config import refuse
from ftjax.pretrained.keymaps.keymap import KeyMap

FIELDS = {
    'olmo2': Fields(
        reads=(*DECODER_READS, *ROTARY_READS, *ROPE_READS, 'hidden_act', 'attention_bias'),
        inert=DECODER_INERT,
    )
}
_NORMS = {
    'post_attention_layernorm': 'post_norm1',
    'post_feedforward_layernorm': 'post_norm2',
}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    return decoder_map('olmo2', config, _NORMS)


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config: a classifier, a language model, or neither."""
    fields = {**known('olmo2').defaults, **config, 'model_type': 'olmo2'}
    options = rotary_options(fields, overrides) | rope_options(fields)
    bias = fields['attention_bias']
    return build('olmo2', {**options, 'qkv_bias': bias, 'out_bias': bias, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, OLMo2)
    refuse(network, _no_place(network))
    return {
        **rotary_fields(network, labels, prefix='Olmo2'),
        **rope_fields(network),
        'attention_bias': network.qkv_bias,
    }


def _no_place(network: OLMo2) -> str | None:
    if network.qkv_bias != network.out_bias or network.mlp_bias:
        return 'its OLMo 2 has other biases'
    if network.window is not None or not network.qk_norm:
        return 'its OLMo 2 has norms on queries and keys and no window'
    if network.depth_of_head * network.heads != network.width:
        return 'heads of its OLMo 2 share the width'
    return None
