"""What the decoders' config.json say of rotary positions: base and scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError

ROPE_READS = ('rope_parameters', 'rope_scaling', 'rope_theta', 'partial_rotary_factor')
LLAMA3 = (
    'factor',
    'low_freq_factor',
    'high_freq_factor',
    'original_max_position_embeddings',
)


def rope_options(fields: Mapping[str, object]) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`: transformers 5 has both in a dict, 4 in two fields.

    Raises:
      UserError: a scaling that is not known here or lacks a number, or the two versions' fields
        differ.
    """
    rope = _parameters(fields)
    base = fields.get('rope_theta', 10000.0)
    options: dict[str, Any] = {'rope_theta': _number({'rope_theta': base, **rope}, 'rope_theta')}
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


def _flat(name: str, value: object) -> dict[str, Any]:
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
