"""Whether the values that a config gives to a dataclass are what its fields say.

A field says its kind by its type, and which numbers it takes by a range beside it:
`epochs: Annotated[float, above(0)]`. Settings check themselves in `__post_init__`.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.ranges import Range

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
PLURALS = {int: 'whole numbers', float: 'numbers', str: 'texts', bool: 'True or False'}


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a field takes."""

    kinds: tuple[type, ...]
    element: type | None = None
    """Kind of the elements of a sequence; None for elements of any kind."""
    length: int | None = None
    """Number of those elements; None for any."""
    range: Range | None = None
    """Of a number, or of each number of a sequence."""

    def holds(self, value: Any) -> bool:
        """Whether a value is of one of the kinds, and its numbers lie in the range."""
        kind = next((kind for kind in self.kinds if fits(value, kind)), None)
        if kind is None:
            return False
        if kind in (tuple, list) and self.element is not None:
            if self.length is not None and len(value) != self.length:
                return False
            return all(fits(x, self.element) and self._in_range(x) for x in value)
        return kind not in (int, float) or self._in_range(value)

    def _in_range(self, number: Any) -> bool:
        return self.range is None or self.range.holds(number)

    def text(self, value: object) -> str:
        """In words, for the message about a value that is something else."""
        words = [self._of(kind, value) for kind in self.kinds]
        return (', or ' if ',' in words[0] else ' or ').join(words)

    def _of(self, kind: type, value: Any) -> str:
        name = NAMES.get(kind, kind.__name__)
        if kind in (tuple, list) and self.element is not None:
            many = '' if self.length is None else f'{self.length} '
            name = f'{name} of {many}{PLURALS.get(self.element, self.element.__name__)}'
            if self.range is None:
                return name
            off = [x for x in value if fits(x, self.element)] if fits(value, kind) else []
            off = [x for x in off if not self.range.holds(x)]
            return f'{name}, each {self.range.text(off[0] if off else None)}'
        if kind in (int, float) and self.range is not None:
            return f'{self.range.name or name}, {self.range.text(value)}'
        return name


def check_fields(cls: type, values: Mapping[str, object], where: str) -> None:
    """UserError for the first value that is not what its field takes.

    Args:
      cls: a dataclass; of a field's type are looked at the outermost kind, and the elements
        of a sequence where they are numbers or texts.
      values: by field.
      where: printed before the field's name in the message: 'train'.

    >>> from ftjax.optim.optimizer import OptimizerSettings
    >>> check_fields(OptimizerSettings, {'clip_norm': -1}, 'optimizer')
    Traceback (most recent call last):
    ftjax.errors.UserError: optimizer.clip_norm is -1; expected a number, above 0, or None
    """
    known = expected_of(cls)
    for name, value in values.items():
        if name in known and not known[name].holds(value):
            raise UserError(f'{where}.{name} is {shown(value)}; expected {known[name].text(value)}')


@functools.cache
def expected_of(cls: type) -> dict[str, Expected]:
    """What each field takes; fields that take anything are left out."""
    found = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        ranges: list[Range] = []
        if typing.get_origin(hint) is Annotated:
            ranges = [extra for extra in hint.__metadata__ if isinstance(extra, Range)]
            hint = typing.get_args(hint)[0]
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        options = typing.get_args(hint) if union else (hint,)
        plain = tuple(typing.get_origin(option) or option for option in options)
        if not all(isinstance(kind, type) for kind in plain):
            continue
        kinds = tuple(dict if issubclass(k, Mapping) else k for k in plain)
        element, length = elements_of(options)
        found[name] = Expected(kinds, element, length, ranges[0] if ranges else None)
    return found


def elements_of(options: tuple[object, ...]) -> tuple[type | None, int | None]:
    """Kind and number of the elements of the sequence among some types."""
    for option in options:
        inside = typing.get_args(option)
        if typing.get_origin(option) not in (tuple, list) or inside[0] not in PLURALS:
            continue
        return inside[0], None if inside[-1] is Ellipsis or len(inside) == 1 else len(inside)
    return None, None


def fits(value: object, kind: type) -> bool:
    """Whether a value is of a kind, as configs write it: lists for tuples, 1 for 1.0."""
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        whole, real = (int, np.integer), (int, float, np.integer, np.floating)
        return isinstance(value, whole if kind is int else real) and not isinstance(value, bool)
    if kind in (tuple, list):
        return isinstance(value, (tuple, list))
    if kind is dict:
        return isinstance(value, Mapping) or hasattr(value, 'items')
    return isinstance(value, kind)
