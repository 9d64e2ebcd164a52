"""Arguments of a part as a config writes them: `name:value,key=value`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.ranges import Range

LARGEST = 1e9
"""Beyond it no argument of a part can be meant."""


def place_of(word: str, index: int, parameters: Mapping[str, object]) -> str:
    """Which argument a word without a name is: that of its place, as a rule.

    A word where a number stands goes to the first later argument that is text, if there is one:
    `lora:8,all` leaves out a number between.
    """
    names = list(parameters)
    if isinstance(parameters[names[index]], str) or not re.fullmatch(r'[A-Za-z_]\w*', word):
        return names[index]
    if word.lower() in ('true', 'false', 'nan', 'inf', 'infinity', 'none'):
        return names[index]
    texts = [name for name in names[index:] if isinstance(parameters[name], str)]
    return texts[0] if texts else names[index]


def read_value(value: str, default: object, what: str, allowed: Range | None = None) -> Any:
    """Converts an argument to the type of its default (None stands for a number)."""
    if isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ('true', 'false'):
            raise UserError(f'{what} must be true or false, not {value!r}')
        return value.lower() == 'true'
    kind = int if isinstance(default, int) else float
    try:
        number = kind(value)
        if not abs(number) < LARGEST:  # NaN fails it too
            raise ValueError
    except ValueError:
        expected = 'a whole number' if kind is int else 'a number'
        within = '' if allowed is None else f' ({allowed})'
        raise UserError(f'{what} must be {expected}, not {value!r}{within}') from None
    if allowed is not None and not allowed.holds(number):
        raise UserError(f'{what} is {number:g}; expected a number, {allowed.text(number)}')
    return number
