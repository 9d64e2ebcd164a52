"""From labels as a source writes them to int32 classes with names, multi-hot or float32 values."""

from __future__ import annotations

import collections
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftjax.data.dataset import MASKED_TOKENS, strings
from ftjax.errors import UserError, did_you_mean

Where = Callable[[int], str]

LONGEST = 500
"""Characters of a class name: a longer one is a text, or a number of thousands of digits."""
MAX_CLASSES = 100_000
"""More distinct labels are values or ids of examples: each class is a row of the head."""


def encode_labels(
    raw: Sequence[Any],
    where: Where,
    task: str,
    class_names: Sequence[str] = (),
    separator: str = '|',
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as an array, and the class names they index.

    Without class names, the distinct labels are the classes: whole numbers by value, others
    by spelling. With them, a label is a name, or, if none is, a whole number that indexes.

    Args:
      raw: str, int or float per example; for `multilabel` a text with names parted by the
        separator, or a list of names or indices, either of which may be empty.
      where: position -> where the example stands, for messages (`train.csv line 7`).
      task: `classification`, `regression`, `multilabel`, or `masked_tokens`, which has none.
      class_names: names in label order; empty to take them from the labels.
      separator: between the labels of one example, for `multilabel`.

    Returns:
      int32 (N,) and the names; for regression float32 (N,) and (); for multilabel float32
      (N, classes) of 0 and 1, and the names.

    Raises:
      UserError: naming the place of a label that is missing, no class or no number.

    >>> encode_labels(['b', 'a', 'b'], str, 'classification')
    (array([1, 0, 1], dtype=int32), ('a', 'b'))
    """
    if task == MASKED_TOKENS:
        return np.zeros(len(raw), np.float32), ()
    if task == 'regression':
        values = [_number(value, where, row) for row, value in enumerate(raw)]
        return np.array(values, np.float32), ()
    if task == 'multilabel':
        return _multi_hot(raw, where, class_names, separator)
    names = [_name(value, where, row) for row, value in enumerate(raw)]
    if class_names:
        return _by_given_names(names, where, list(class_names)), tuple(class_names)
    found = sorted(set(names), key=_order(set(names)))
    check_class_count(len(found), where(0))
    index = {name: i for i, name in enumerate(found)}
    return np.array([index[name] for name in names], np.int32), tuple(found)


def check_class_count(count: int, what: str) -> None:
    """UserError for more classes than a head can have."""
    if count > MAX_CLASSES:
        raise UserError(
            f'{what} and others: {count:,} distinct labels, more than {MAX_CLASSES:,}; are they '
            "ids of examples, or values (data.task='regression')?"
        )


def class_ids(labels: np.ndarray) -> tuple[str, ...]:
    """Names for numeric labels that are ids and not indices, by value; () for indices.

    They are ids where the highest is no index of so many examples: 3,000,000 among 60.

    >>> class_ids(np.array([7, 7, 2_000_000_000])), class_ids(np.array([0, 2, 2]))
    (('7', '2000000000'), ())
    """
    if not labels.size or labels.dtype.kind not in 'iuf' or not np.isfinite(labels).all():
        return ()
    if labels.min() < 0 or labels.max() < len(labels) or (labels != np.floor(labels)).any():
        return ()
    found = np.unique(labels)
    check_class_count(len(found), 'labels')
    return tuple(str(int(value)) for value in found)


def class_indices(labels: Any, what: str) -> np.ndarray:
    """Numeric labels as int32; raises UserError when they are not whole numbers.

    >>> class_indices(np.array([0.0, 2.0]), 'y')
    array([0, 2], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    numeric = labels.ndim == 1 and labels.dtype.kind in 'biuf'
    with np.errstate(invalid='ignore'):  # NaN becomes some number here, and is then unequal
        whole = labels.astype(np.int32) if numeric else None
    if whole is None or not np.array_equal(labels, whole):
        raise UserError(
            f'{what}: labels are {labels.dtype} {labels.shape}; expected one whole number per '
            "example (or data.task='regression')"
        )
    return whole


def _multi_hot(
    raw: Sequence[Any], where: Where, class_names: Sequence[str], separator: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    rows = [list(_parts(value, separator)) for value in raw]
    owner = [row for row, parts in enumerate(rows) for _ in parts]
    flat = [part for parts in rows for part in parts]
    if not flat:
        raise UserError(f'{where(0)}: no example has any label; data.task is multilabel')
    labels, names = encode_labels(
        flat, lambda i: where(owner[i]), 'classification', tuple(class_names)
    )
    hot = np.zeros((len(rows), len(names)), np.float32)
    hot[owner, labels] = 1
    return hot, names


def _parts(value: Any, separator: str) -> Sequence[Any]:
    """The labels of one example; none for an empty text or null."""
    if value is None:
        return []
    if isinstance(value, (list, tuple, np.ndarray)):
        return [part.item() if isinstance(part, np.generic) else part for part in value]
    if not isinstance(value, str):
        return [value]
    return [part for part in value.split(separator) if part.strip()]


def _by_given_names(names: list[str], where: Where, known: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(known)}
    unknown = [row for row, name in enumerate(names) if name not in index]
    if not unknown:
        return np.array([index[name] for name in names], np.int32)
    # Numbers may stand for names, but not mixed with them: '1' could be either then.
    numbers = [_whole(name) for name in names]
    whole = [number for number in numbers if number is not None]
    if len(whole) == len(names):
        for row, number in enumerate(whole):
            if not 0 <= number < len(known):
                raise UserError(
                    f'{where(row)}: label {names[row]} is out of range; {len(known)} classes have '
                    f'labels 0 to {len(known) - 1}'
                )
        return np.array(whole, np.int32)
    # What is no number is the odd one out among numbers.
    row = next((row for row in unknown if numbers[row] is None), unknown[0])
    raise UserError(
        f'{where(row)}: label {names[row]!r} is no class; {did_you_mean(names[row], known)}'
    )


def _name(value: Any, where: Where, row: int) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float) and not math.isnan(value):
        raise UserError(
            f"{where(row)}: label {value!r} is no class; for values set data.task='regression'"
        )
    if isinstance(value, (list, tuple, dict)):
        raise UserError(
            f'{where(row)}: the label is {repr(value)[:60]}; expected one name or number (for '
            "several labels an example set data.task='multilabel')"
        )
    if isinstance(value, int) and abs(value) >= 10**LONGEST:
        raise UserError(f'{where(row)}: the label is a number of over {LONGEST} digits')
    name = '' if value is None or isinstance(value, float) else str(value).strip()
    if not name:
        raise UserError(f'{where(row)}: the label is missing; give one or remove the example')
    check_class_name(name, where(row))
    return name


def check_class_name(name: str, where: str) -> None:
    """UserError for a name that cannot be written down, or that is no name."""
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


def _number(value: Any, where: Where, row: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f'{where(row)}: label {value!r} is no finite number; regression needs one')
    return number


def _whole(name: str) -> int | None:
    """The whole number that a label spells; None for one that spells none.

    >>> _whole('-07'), _whole('--1'), _whole('1e3')
    (-7, None, None)
    """
    return int(name) if re.fullmatch(r'[+-]?\d+', name) and len(name) <= LONGEST + 1 else None


def _order(names: set[str]) -> Callable[[str], Any]:
    """By value where all are whole numbers, and by spelling where values are equal."""
    numbers = {name: _whole(name) for name in names}
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


def names_of(values: Any) -> tuple[str, ...]:
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
