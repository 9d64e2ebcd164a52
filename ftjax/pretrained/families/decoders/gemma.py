"""Gemma 1, 2 and 3 (text), and EmbeddingGemma, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.gemma import Gemma
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
    LAYERED,
    ROPE_READS,
    layered_rope,
    rope_fields,
    rope_options,
    scaling_fields,
)
from ftjax.pretrained.keymaps.hf_config import read_activation, refuse
from ftjax.pretrained.keymaps.keymap import KeyMap

_BOTH = {
    'input_layernorm': 'norm1',
    'post_attention_layernorm': 'post_norm1',
    'pre_feedforward_layernorm': 'norm2',
    'post_feedforward_layernorm': 'post_norm2',
}
_OTHER_NAME = {'hidden_act': 'hidden_activation is read'}
_THETAS = dict(zip(LAYERED, (('rope_theta', 1e6), ('rope_local_base_freq', 1e4)), strict=True))


def _declared(*reads: str, **inert: str) -> Fields:
    return Fields(
        reads=(
            *(*DECODER_READS, *ROTARY_READS, *ROPE_READS, *reads),
            *('head_dim', 'attention_bias', 'hidden_activation', 'use_bidirectional_attention'),
        ),
        inert={**DECODER_INERT, **inert},
    )


_WINDOWS = ('query_pre_attn_scalar', 'sliding_window', 'layer_types', 'final_logit_softcapping')
FIELDS = {
    'gemma': _declared('hidden_act'),
    'gemma2': _declared(*_WINDOWS, 'attn_logit_softcapping', **_OTHER_NAME),
    'gemma3_text': _declared(
        *_WINDOWS, 'rope_local_base_freq', 'sliding_window_pattern', **_OTHER_NAME
    ),
}
# Every so many blocks one has no window.
_PATTERNS = {'gemma2': 2, 'gemma3_text': 6}


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    return decoder_map('gemma', config, NORMS if config.get('model_type') == 'gemma' else _BOTH)


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config: a classifier, a language model, or neither.

    Raises:
      UserError: fields that do not go together, or a scaling of positions not known here.
    """
    kind = config.get('model_type', 'gemma')
    fields = {**known(kind).defaults, **config, 'model_type': kind}
    if kind == 'gemma':
        fields['hidden_activation'] = _activation(fields)
    options = {
        **rotary_options(fields, overrides, 'hidden_activation'),
        'qkv_bias': fields['attention_bias'],
        'out_bias': fields['attention_bias'],
        'norms': 'pre' if kind == 'gemma' else 'both',
    }
    if kind == 'gemma3_text':
        ropes = [layered_rope(fields, _THETAS, LAYERED[:1])[name] for name in LAYERED]
        if 'rope_scaling' in ropes[1]:
            raise UserError('config.json: rotary scaling of sliding_attention is not supported')
        options |= {**ropes[0], 'local_theta': ropes[1]['rope_theta'], 'qk_norm': True}
    else:
        options |= rope_options(fields)
    if kind != 'gemma':
        options |= {
            'query_scale': float(fields['query_pre_attn_scalar']),
            'attention_cap': fields['attn_logit_softcapping'] if kind == 'gemma2' else None,
            'logit_cap': fields['final_logit_softcapping'],
            **_windows(kind, fields),
        }
    if fields['use_bidirectional_attention']:
        if kind != 'gemma3_text' or not options['causal']:
            raise UserError(
                f'config.json: use_bidirectional_attention of {kind} with is_causal='
                f'{str(options["causal"]).lower()} is not supported'
            )
        options['causal'] = False
        if 'window' in options:  # as wide on both sides together
            options['window'] = fields['sliding_window'] // 2
    return build('gemma', {**options, **overrides})


def _activation(fields: JsonObject) -> str:
    """Of Gemma 1, whose first files say `gelu` and mean the one by tanh."""
    act = fields['hidden_act'].replace('gelu_pytorch_tanh', 'gelu')
    act = 'gelu_pytorch_tanh' if act == 'gelu' else act
    other = fields.get('hidden_activation')
    if other is not None and read_activation(other) != read_activation(act):
        raise UserError(
            f'config.json: hidden_act={fields["hidden_act"]!r} and hidden_activation={other!r} '
            'differ'
        )
    return act


def _windows(kind: str, fields: JsonObject) -> dict[str, object]:
    """The window, and which blocks have none."""
    depth, window = fields['num_hidden_layers'], fields['sliding_window']
    every = fields.get('sliding_window_pattern', _PATTERNS[kind])
    types = fields['layer_types'] or [LAYERED[(i + 1) % every > 0] for i in range(depth)]
    if len(types) != depth or set(types) - set(LAYERED):
        raise UserError(
            f'config.json: layer_types of {kind} must be {depth} times one of '
            f'{" and ".join(LAYERED)}'
        )
    full = tuple(index for index, name in enumerate(types) if name == LAYERED[0])
    if len(full) == depth:
        return {}
    if window is None:
        raise UserError(f'config.json: {kind} has blocks with a window, and no sliding_window')
    return {'window': window, 'full_blocks': full}


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, Gemma)
    kind = network.model_type
    refuse(network, _no_place(network))
    names = {'gemma': 'Gemma', 'gemma2': 'Gemma2', 'gemma3_text': 'Gemma3'}
    classes = {'others': 'Gemma3Text'} if kind == 'gemma3_text' else {}
    act = 'hidden_act' if kind == 'gemma' else 'hidden_activation'
    fields = {
        **rotary_fields(network, labels, prefix=names[kind], act=act, **classes),
        **rope_fields(network),
        'head_dim': network.depth_of_head,
        'attention_bias': network.qkv_bias,
    }
    if kind == 'gemma':
        return fields
    full = range(network.depth) if network.window is None else network.full_blocks
    fields |= {
        'query_pre_attn_scalar': int(network.query_scale or network.depth_of_head),
        'final_logit_softcapping': network.logit_cap,
        'layer_types': [LAYERED[index not in full] for index in range(network.depth)],
        'sliding_window': network.window,
    }
    if kind == 'gemma2':
        return {**fields, 'attn_logit_softcapping': network.attention_cap}
    for name in ('rope_theta', 'rope_scaling', 'is_causal'):
        fields.pop(name, None)
    thetas = dict(zip(LAYERED, (network.rope_theta, network.local_theta), strict=True))
    scalings = dict(zip(LAYERED, (network.rope_scaling, None), strict=True))
    fields['rope_parameters'] = {
        kind: {**scaling_fields(scalings[kind]), 'rope_theta': theta}
        for kind, theta in thetas.items()
    }
    if not network.causal:
        fields['use_bidirectional_attention'] = True
        fields['sliding_window'] = 2 * (network.window or 1)
    return fields


def _no_place(network: Gemma) -> str | None:
    """Why a model type cannot say what the network is; None if it can."""
    kind = network.model_type
    if kind not in FIELDS:
        return f'model_type {kind!r} is none of {", ".join(FIELDS)}'
    if network.qkv_bias != network.out_bias or network.mlp_bias:
        return 'its Gemma has other biases'
    if network.norms != ('pre' if kind == 'gemma' else 'both') or network.window_from:
        return f'its {kind} has other norms or windows'
    if network.qk_norm != (kind == 'gemma3_text'):
        return f'its {kind} has {"no" if network.qk_norm else "a"} norm on queries and keys'
    if (network.local_theta is not None) != (kind == 'gemma3_text'):
        return f'its {kind} has other rotary positions'
    if network.attention_cap is not None and kind != 'gemma2':
        return f'its {kind} has no bound on scores'
    scale = network.query_scale
    if kind == 'gemma' and (scale, network.logit_cap, network.window) != (None, None, None):
        return 'its gemma has no query_scale, no bound and no window'
    if scale is not None and scale != int(scale):
        return 'its query_pre_attn_scalar is a whole number'
    return None
