"""Whether the values that a config gives to a dataclass are of the kinds that its fields say."""

from __future__ import annotations

import functools
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, shown

NAMES = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    tuple: 'a sequence',
    list: 'a sequence',
    dict: 'a mapping',
    type(None): 'None',
}


def check_fields(cls: type, values: Mapping[str, Any], where: str) -> None:
    """UserError for the first value that is not of its field's kind.

    Args:
      cls: a dataclass; only the outermost kind of a field is looked at.
      values: by field.
      where: what stands before the field's name in the message: 'config.train'.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Lamp:
    ...     watts: float | None = None
    >>> check_fields(Lamp, {'watts': 'many'}, 'lamp')
    Traceback (most recent call last):
    ftjax.errors.UserError: lamp.watts is 'many'; expected a number or None
    """
    kinds = kinds_of(cls)
    for name, value in values.items():
        if name in kinds and not any(fits(value, kind) for kind in kinds[name]):
            expected = ' or '.join(NAMES.get(kind, kind.__name__) for kind in kinds[name])
            raise UserError(f'{where}.{name} is {shown(value)}; expected {expected}')


@functools.cache
def kinds_of(cls: type) -> dict[str, tuple[type, ...]]:
    """The kinds that each field takes; fields that take anything are left out."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        options = typing.get_args(hint) if union else (hint,)
        plain = tuple(typing.get_origin(option) or option for option in options)
        if all(isinstance(kind, type) for kind in plain):
            found[name] = tuple(dict if issubclass(k, Mapping) else k for k in plain)
    return found


def fits(value: Any, kind: type) -> bool:
    """Whether a value is of a kind, as configs write it: lists for tuples, 1 for 1.0."""
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        wanted = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if kind in (tuple, list):
        return isinstance(value, (tuple, list))
    if kind is dict:
        return isinstance(value, Mapping) or hasattr(value, 'items')
    return isinstance(value, kind)
