"""config.json of Llama, Mistral, Qwen2 and Qwen3, read and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.llama import Llama
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
from ftjax.pretrained.families.decoders.rope_config import (
    LAYERED,
    ROPE_READS,
    rope_fields,
    rope_options,
)
from ftjax.pretrained.keymaps.hf_config import refuse

_PREFIX = {'llama': 'Llama', 'mistral': 'Mistral', 'qwen2': 'Qwen2', 'qwen3': 'Qwen3'}


def _declared(*reads: str) -> Fields:
    """The fields of Llama or a relative; `reads` beyond those of all."""
    return Fields(
        reads=(
            *DECODER_READS,
            *ROPE_READS,
            *ROTARY_READS,
            *('head_dim', 'hidden_act', 'layer_types'),
            *reads,
        ),
        inert={**DECODER_INERT, 'pretraining_tp': 'how a product is split: rounding alone'},
    )


_WINDOW = ('sliding_window', 'use_sliding_window', 'max_window_layers')
FIELDS = {
    'llama': _declared('attention_bias', 'mlp_bias'),
    'mistral': _declared('sliding_window'),
    'qwen2': _declared(*_WINDOW),
    'qwen3': _declared('attention_bias', *_WINDOW),
}


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config: a classifier, a language model, or neither.

    Raises:
      UserError: a scaling of positions or a pattern of windows that is not known here.
    """
    kind = config.get('model_type', 'llama')
    fields = {**known(kind).defaults, **config, 'model_type': kind}
    bias = fields.get('attention_bias', False) if kind in ('llama', 'qwen3') else False
    options = {
        **rotary_options(fields, overrides),
        'qkv_bias': kind == 'qwen2' or bias,
        'out_bias': bias,
        'mlp_bias': kind == 'llama' and fields.get('mlp_bias', False),
        'qk_norm': kind == 'qwen3',
        **rope_options(fields),
        **_window(kind, fields),
    }
    return build('llama', {**options, **overrides})


def _window(kind: str, fields: JsonObject) -> dict[str, object]:
    """The window, and the block from which on it holds."""
    depth = fields['num_hidden_layers']
    window, first = fields.get('sliding_window'), depth
    if kind == 'mistral' and window is not None:
        first = 0
    elif kind.startswith('qwen') and fields.get('use_sliding_window') and window is not None:
        first = min(fields.get('max_window_layers', 28), depth)
    given = fields.get('layer_types')
    # The length first: a file may say any number of blocks.
    as_said = (
        given
        and len(given) == depth
        and list(given) == [LAYERED[index >= first] for index in range(depth)]
    )
    if given and not as_said:
        raise UserError(
            f'config.json: layer_types of {kind} other than {first} times full_attention and '
            f'{depth - first} times sliding_attention, as the other fields say, are not supported'
        )
    return {'window': window, 'window_from': first} if first < depth else {}


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens, version 4 and 5 alike."""
    assert isinstance(network, Llama)
    kind = network.model_type
    refuse(network, _no_place(network))
    fields = {
        **rotary_fields(network, labels, prefix=_PREFIX[kind]),
        **rope_fields(network),
        'head_dim': network.depth_of_head,
    }
    if kind in ('llama', 'qwen3'):
        fields['attention_bias'] = network.qkv_bias
    if kind == 'llama':
        fields['mlp_bias'] = network.mlp_bias
    if kind != 'llama':
        fields['sliding_window'] = network.window
    if kind.startswith('qwen'):
        fields['use_sliding_window'] = network.window is not None
        first = network.depth if network.window is None else network.window_from
        fields['max_window_layers'] = first
        fields['layer_types'] = [LAYERED[index >= first] for index in range(network.depth)]
    return fields


def _no_place(network: Llama) -> str | None:
    """Why a model type cannot say what the network is; None if it can."""
    kind = network.model_type
    if kind not in _PREFIX:
        return f'model_type {kind!r} is none of {", ".join(_PREFIX)}'
    biases = (network.qkv_bias, network.out_bias)
    if (
        biases
        not in {
            'llama': [(False, False), (True, True)],
            'mistral': [(False, False)],
            'qwen2': [(True, False)],
            'qwen3': [(False, False), (True, True)],
        }[kind]
    ):
        return f'its {kind} has other biases in attention'
    if network.mlp_bias and kind != 'llama':
        return f'its {kind} has no biases in the perceptron'
    if network.qk_norm != (kind == 'qwen3'):
        return f'its {kind} has {"a" if kind == "qwen3" else "no"} norm on queries and keys'
    if network.window is not None and (
        kind == 'llama' or (kind == 'mistral' and network.window_from)
    ):
        return f'its {kind} has no such window'
    return None
