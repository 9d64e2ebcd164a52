"""Names of classes: their length, order and spelling."""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError

LONGEST = 500
"""Characters of a class name: a longer one is a text, or a number of thousands of digits."""
MAX_CLASSES = 100_000
"""More distinct labels are values or ids of examples: each class is a row of the head."""


def check_class_count(count: int, what: str) -> None:
    """UserError for more classes than a head can have."""
    if count > MAX_CLASSES:
        raise UserError(
            f'{what} and others: {count:,} distinct labels, more than {MAX_CLASSES:,}; are they '
            "ids of examples, or values (data.task='regression')?"
        )


def check_class_name(name: str, where: str) -> None:
    """UserError for a name that UTF-8 cannot hold, or that is too long for one."""
    if len(name) > LONGEST:
        raise UserError(
            f'{where}: the label has {len(name):,} characters ({name[:20]!r}..); expected at '
            f'most {LONGEST}: is data.label_column the right one?'
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f'{where}: label {name!r} is no valid Unicode (half a character); write it again'
        ) from error


def whole(name: str) -> int | None:
    """The whole number that a label spells; None for one that spells none.

    >>> whole('-07'), whole('--1'), whole('1e3')
    (-7, None, None)
    """
    return int(name) if re.fullmatch(r'[+-]?\d+', name) and len(name) <= LONGEST + 1 else None


def order(names: set[str]) -> Callable[[str], Any]:
    """By value where all are whole numbers, and by spelling where values are equal."""
    numbers = {name: whole(name) for name in names}
    if any(number is None for number in numbers.values()):
        return str
    return lambda name: (numbers[name], name)


def spelling_note(names: Sequence[str]) -> str:
    """Which class names are spellings of one number or word; '' where none are.

    >>> spelling_note(('0', '01', '1', 'cat', 'Cat '))
    "classes of one meaning are told apart by their spelling: '01' and '1', 'cat' and 'Cat '"
    """
    alike = collections.defaultdict(list)
    for name in names:
        try:
            meaning = float(name)
        except ValueError:
            meaning = unicodedata.normalize('NFKC', name).strip()
            meaning = meaning.casefold() if len(meaning) > 1 else meaning  # A and a are letters
        alike[meaning].append(repr(name))
    found = [' and '.join(same) for same in alike.values() if len(same) > 1]
    if not found:
        return ''
    more = f' and {len(found) - 3} more' if len(found) > 3 else ''
    return 'classes of one meaning are told apart by their spelling: ' + ', '.join(found[:3]) + more


def strings(values: Any) -> np.ndarray:
    """An object array of str: no width to pad to, and indexing gives plain str."""
    array = np.empty(len(values), object)
    array[:] = [str(value) for value in values]
    return array


def names_of(values: object) -> tuple[str, ...]:
    """Class names from an array of str or bytes."""
    values = np.asarray(values)
    if values.dtype.kind == 'S':
        try:
            values = np.char.decode(values, 'utf-8')
        except UnicodeDecodeError as error:
            raise UserError(
                f'an array of bytes holds {error.object[:60]!r}, which is not UTF-8; save texts '
                'and names as str'
            ) from error
    return tuple(strings(values.reshape(-1)))
