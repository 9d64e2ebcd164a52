"""What a value from outside must be: its kind and range, checked before anything is made of it.

    check(fields['hidden_size'], 'config.json: hidden_size', Integer(1, 65536))

returns the value or raises a UserError that names the place, what was found (cut where it is
long) and what was expected.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from ftjax.errors import UserError, shown

Value = TypeVar('Value')
JsonObject = Mapping[str, Any]
"""What a JSON file or a line of one holds: fields by name."""


class Kind(Protocol):
    """One kind of value."""

    @property
    def expected(self) -> str:
        """In words, for messages."""
        ...

    def holds(self, value: object) -> bool:
        """Whether a value is of the kind."""
        ...


def check(value: Value, where: str, kind: Kind) -> Value:
    """Returns the value if it is of a kind; else raises UserError.

    >>> check(2.5, 'config.json: depth', Integer(1, 4))
    Traceback (most recent call last):
    ftjax.errors.UserError: config.json: depth is 2.5; expected a whole number from 1 to 4
    """
    if not kind.holds(value):
        raise UserError(f'{where} is {shown(value)}; expected {kind.expected}')
    return value


def check_table(fields: Mapping[str, object], kinds: Mapping[str, Kind], where: str) -> None:
    """Checks those entries of a mapping that a table of kinds names."""
    for name, kind in kinds.items():
        if name in fields:
            check(fields[name], f'{where}: {name}', kind)


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number; 2.0 and True are none."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        return f'a whole number from {self.low} to {self.high}'

    def holds(self, value: object) -> bool:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return whole and self.low <= int(value) <= self.high


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number, whole or not."""

    low: float
    high: float
    low_belongs: bool = True
    high_belongs: bool = True

    @property
    def expected(self) -> str:
        low = f'{"from" if self.low_belongs else "above"} {self.low:g}'
        return f'a number {low} {"to" if self.high_belongs else "to below"} {self.high:g}'

    def holds(self, value: object) -> bool:
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            return False
        number: Any = value
        if not self.low <= number <= self.high:  # a NaN is not
            return False
        low = self.low_belongs or number != self.low
        return low and (self.high_belongs or number != self.high)


@dataclasses.dataclass(frozen=True)
class Text:
    """A text, of some choices where they are given."""

    choices: tuple[str, ...] = ()
    longest: int = 10_000

    @property
    def expected(self) -> str:
        return ', '.join(map(repr, self.choices)) if self.choices else 'a text'

    def holds(self, value: object) -> bool:
        if not isinstance(value, str) or len(value) > self.longest:
            return False
        return not self.choices or value in self.choices


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or False."""

    expected: str = 'true or false'

    def holds(self, value: object) -> bool:
        return isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Null:
    """Nothing."""

    expected: str = 'null'

    def holds(self, value: object) -> bool:
        return value is None


@dataclasses.dataclass(frozen=True)
class ListOf:
    """A list, or a tuple, of values of one kind."""

    of: Kind
    shortest: int = 0
    longest: int = 2**31

    @property
    def expected(self) -> str:
        if self.shortest == self.longest:
            return f'a list of {self.shortest}, each {self.of.expected}'
        least = f' of at least {self.shortest}' if self.shortest else ''
        return f'a list{least}, each {self.of.expected}'

    def holds(self, value: object) -> bool:
        if not isinstance(value, (list, tuple)):
            return False
        fits = self.shortest <= len(value) <= self.longest
        return fits and all(self.of.holds(item) for item in value)


@dataclasses.dataclass(frozen=True)
class Table:
    """An object whose values are all of one kind; None for any."""

    of: Kind | None = None

    @property
    def expected(self) -> str:
        return 'an object' + (f', each value {self.of.expected}' if self.of else '')

    def holds(self, value: object) -> bool:
        if not isinstance(value, Mapping):
            return False
        return self.of is None or all(self.of.holds(item) for item in value.values())


class Either:
    """A value of one of several kinds."""

    def __init__(self, *kinds: Kind):
        self.kinds = kinds

    @property
    def expected(self) -> str:
        return ' or '.join(kind.expected for kind in self.kinds)

    def holds(self, value: object) -> bool:
        return any(kind.holds(value) for kind in self.kinds)


def optional(kind: Kind) -> Either:
    """A kind, or null."""
    return Either(kind, Null())
