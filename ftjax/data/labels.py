"""From labels as a source writes them to int32 classes with names, multi-hot or float32 values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftjax.data.dataset import MASKED_TOKENS, strings
from ftjax.errors import UserError, did_you_mean

Where = Callable[[int], str]


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
    index = {name: i for i, name in enumerate(found)}
    return np.array([index[name] for name in names], np.int32), tuple(found)


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
    if all(_is_whole(name) for name in names):
        for row, name in enumerate(names):
            if not 0 <= int(name) < len(known):
                raise UserError(
                    f'{where(row)}: label {name} is out of range; {len(known)} classes have '
                    f'labels 0 to {len(known) - 1}'
                )
        return np.array([int(name) for name in names], np.int32)
    row = unknown[0]
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
    name = '' if value is None or isinstance(value, float) else str(value).strip()
    if not name:
        raise UserError(f'{where(row)}: the label is missing; give one or remove the example')
    return name


def _number(value: Any, where: Where, row: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f'{where(row)}: label {value!r} is no finite number; regression needs one')
    return number


def _is_whole(name: str) -> bool:
    return name.lstrip('+-').isdecimal()


def _order(names: set[str]) -> Callable[[str], Any]:
    return int if all(_is_whole(name) for name in names) else str


def names_of(values: Any) -> tuple[str, ...]:
    """Class names from an array of str or bytes."""
    values = np.asarray(values)
    if values.dtype.kind == 'S':
        values = np.char.decode(values, 'utf-8')
    return tuple(strings(values.reshape(-1)))
