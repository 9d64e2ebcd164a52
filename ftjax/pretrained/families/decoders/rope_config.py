"""What the decoders' config.json say of rotary positions: base and scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.llama import Llama, Phi3
from ftjax.models.layers.rotary import LONG

ROPE_READS = ('rope_parameters', 'rope_scaling', 'rope_theta', 'partial_rotary_factor')
LLAMA3 = (
    'factor',
    'low_freq_factor',
    'high_freq_factor',
    'original_max_position_embeddings',
)
LONG_READS = ('original_max_position_embeddings',)
LAYERED = ('full_attention', 'sliding_attention')
_OLD_NAMES = (LONG, 'su', 'yarn')


def rope_options(fields: Mapping[str, object]) -> dict[str, object]:
    """`rope_theta` and `rope_scaling`: transformers 5 has both in a dict, 4 in two fields.

    Raises:
      UserError: a scaling that is not known here or lacks a number, or the two versions' fields
        differ.
    """
    rope = _parameters(fields)
    base = fields.get('rope_theta', 10000.0)
    options: dict[str, object] = {'rope_theta': _number({'rope_theta': base, **rope}, 'rope_theta')}
    name = rope.get('rope_type', rope.get('type', 'default'))
    if rope.get('partial_rotary_factor', fields.get('partial_rotary_factor') or 1) != 1:
        raise UserError('config.json: rotary positions on a part of each head are not supported')
    if name == 'linear':
        options['rope_scaling'] = (name, _number(rope, 'factor'))
    elif name == 'llama3':
        rope.setdefault(LLAMA3[-1], fields.get('max_position_embeddings', 2048))
        options['rope_scaling'] = (name, *(_number(rope, key) for key in LLAMA3))
    elif name != 'default':
        raise UserError(
            f'config.json: rotary scaling {name!r} is not supported; known: default, linear, llama3'
        )
    return options


def rope_fields(network: Llama) -> dict[str, object]:
    """The inverse of `rope_options`, in the form of both versions."""
    rope = scaling_fields(network.rope_scaling)
    return {
        'rope_parameters': {**rope, 'rope_theta': network.rope_theta},
        'rope_theta': network.rope_theta,
        'rope_scaling': rope if network.rope_scaling is not None else None,
    }


def scaling_fields(scaling: tuple[str | float, ...] | None) -> JsonObject:
    """The entries of `rope_parameters` of a scaling that is not 'longrope'."""
    if scaling is None:
        return {'rope_type': 'default'}
    name, *numbers = scaling
    rope = {'rope_type': name, **dict(zip(LLAMA3, numbers, strict=False))}
    if LLAMA3[-1] in rope:
        rope[LLAMA3[-1]] = int(rope[LLAMA3[-1]])
    return rope


def layered_rope(
    fields: JsonObject, thetas: Mapping[str, tuple[str, float]], scaled: tuple[str, ...]
) -> dict[str, dict[str, object]]:
    """`rope_options` of each kind of layer, where each has an entry of its own.

    Args:
      fields: of the config.
      thetas: kind of layer -> (the field of its base in version 4, the class's default).
      scaled: the kinds that version 4's `rope_scaling` is of.
    """
    given = fields.get('rope_parameters') or {}
    if not isinstance(given, Mapping) or set(given) - set(thetas):
        raise UserError(
            f'config.json: rope_parameters must have entries for {", ".join(thetas)} and no '
            f'others, not {sorted(given)}'
        )
    found = {}
    for kind, (name, default) in thetas.items():
        entry = _flat('rope_parameters', given.get(kind))
        older = _flat('rope_scaling', fields.get('rope_scaling')) if kind in scaled else {}
        if name in fields:
            older['rope_theta'] = fields[name]
        for key in older.keys() & entry.keys():
            if older[key] != entry[key]:
                raise UserError(
                    f'config.json: {key} is {entry[key]} in rope_parameters of {kind} and '
                    f'{older[key]} in {name if key == "rope_theta" else "rope_scaling"}'
                )
        found[kind] = rope_options(
            {
                'rope_parameters': {'rope_theta': default, **older, **entry},
                'max_position_embeddings': fields['max_position_embeddings'],
                'partial_rotary_factor': fields.get('partial_rotary_factor'),
            }
        )
    return found


def longrope_options(fields: JsonObject) -> JsonObject:
    """`rope_theta`, `rope_scaling` and `rotary_part` of Phi-3, which has a scaling of its own.

    Raises:
      UserError: another scaling, or one that lacks a number.
    """
    rope = _parameters(fields)
    name = rope.get('rope_type', rope.get('type', 'default'))
    part = fields.get('partial_rotary_factor') or rope.get('partial_rotary_factor', 1.0)
    if part != rope.get('partial_rotary_factor', part):
        raise UserError(
            f'config.json: partial_rotary_factor is {part} and, in rope_parameters, '
            f'{rope["partial_rotary_factor"]}'
        )
    base = {'rope_theta': fields.get('rope_theta', 10000.0), **rope}
    options: dict[str, object] = {'rope_theta': _number(base, 'rope_theta'), 'rotary_part': part}
    if name == 'default':
        return options
    if name not in _OLD_NAMES:
        raise UserError(
            f'config.json: rotary scaling {name!r} is not supported; known: default, longrope'
        )
    length = _number(fields, LLAMA3[-1])
    factor = rope.get('factor')
    factor = fields['max_position_embeddings'] / length if factor is None else float(factor)
    attention = rope.get('attention_factor')
    if attention is None:
        attention = math.sqrt(1 + math.log(factor) / math.log(length)) if factor > 1 else 1.0
    factors = [float(n) for key in ('short_factor', 'long_factor') for n in _list(rope, key)]
    return {**options, 'rope_scaling': (LONG, float(attention), length, *factors)}


def longrope_fields(network: Phi3) -> dict[str, object]:
    """The inverse of `longrope_options`."""
    rope: dict[str, object] = {
        'rope_type': 'default',
        'rope_theta': network.rope_theta,
        'partial_rotary_factor': network.rotary_part,
    }
    if network.rope_scaling is None:
        return {'rope_parameters': rope}
    _, attention, length, *factors = network.rope_scaling
    half = len(factors) // 2
    rope |= {
        'rope_type': LONG,
        'attention_factor': attention,
        'short_factor': factors[:half],
        'long_factor': factors[half:],
        LLAMA3[-1]: int(length),
    }
    return {'rope_parameters': rope, LLAMA3[-1]: int(length)}


def _parameters(fields: Mapping[str, object]) -> dict[str, Any]:
    """The dict of either version; where there are both, they must say the same."""
    old, new = (_flat(name, fields.get(name)) for name in ('rope_scaling', 'rope_parameters'))
    for key in old.keys() & new.keys():
        if old[key] != new[key]:
            raise UserError(
                f'config.json: {key} is {old[key]} in rope_scaling and {new[key]} in '
                'rope_parameters; leave one of them'
            )
    return {**old, **new}


def _flat(name: str, value: object) -> dict[str, object]:
    """The entries, which hold for all layers; {} for null."""
    if not isinstance(value, Mapping | None):
        raise UserError(f'config.json: {name} must be a JSON object, not {value!r}')
    for key, entry in (value or {}).items():
        if isinstance(entry, Mapping):
            raise UserError(
                f'config.json: {name} with an entry of its own for {key!r} is not supported; '
                'all layers have one'
            )
    return dict(value or {})


def _number(rope: Mapping[str, object], name: str) -> float:
    value = rope.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f'config.json: {name} of the rotary positions must be a number: {value!r}')
    return float(value)


def _list(rope: Mapping[str, object], name: str) -> list[Any]:
    value = rope.get(name)
    if not isinstance(value, list):
        raise UserError(f'config.json: {name} of the rotary positions must be a list: {value!r}')
    return value
