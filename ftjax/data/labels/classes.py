"""Labels that are classes: one an example, by name or by index."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.data.labels.names import LONGEST, check_class_count, check_class_name, order, whole
from ftjax.errors import UserError, at_row, did_you_mean

_ALL_DIFFERENT = 20  # examples: of fewer it may be so on purpose


class Classes(LabelKind):
    """int32 (N,), indices of the class names."""

    dtype, named, one_class = np.int32, True, True

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Without class names, the distinct labels are the classes.

        Whole numbers are ordered by value, others by spelling. With class names a label is a
        name, or, if none is, a whole number that indexes.

        >>> Classes().read(['b', 'a', 'b'], str)
        (array([1, 0, 1], dtype=int32), ('a', 'b'))
        """
        names = [_name(value, where, row) for row, value in enumerate(raw)]
        if class_names:
            return _by_given_names(names, where, list(class_names)), tuple(class_names)
        found = sorted(set(names), key=order(set(names)))
        check_class_count(len(found), where(0))
        index = {name: i for i, name in enumerate(found)}
        return np.array([index[name] for name in names], np.int32), tuple(found)

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """Indices; or ids, where the highest is no index of so many examples."""
        every = np.concatenate([values.reshape(-1) for values in raw.values()])
        ids = () if names else class_ids(every)
        if ids:
            known = np.array([int(name) for name in ids])
            return ids, {
                part: np.searchsorted(known, values.reshape(-1)).astype(np.int32)
                for part, values in raw.items()
            }
        coded = {part: class_indices(values, where(part)) for part, values in raw.items()}
        if not names:
            highest = max((int(v.max()) for v in coded.values() if len(v)), default=-1)
            names = tuple(str(i) for i in range(highest + 1))
        return names, coded

    def check(self, name: str, labels: np.ndarray, classes: int) -> None:
        """From 0 to classes - 1."""
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if wrong.size and labels.ndim == 1:
            raise UserError(
                f'{name}: label {labels[wrong[0]]} of {at_row(wrong[0])} is out of range; '
                f'{classes} classes have labels 0 to {classes - 1}'
            )

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Two classes or more, each with an example, and not a class an example."""
        super().check_training(name, labels, class_names)
        if len(class_names) < 2:
            raise UserError(
                f'{name}: one class only ({class_names[0]!r}); expected two or more to tell apart'
            )
        if len(class_names) == len(labels) > _ALL_DIFFERENT:
            raise UserError(
                f'{name}: every example has a class of its own ({class_names[0]!r}, '
                f'{class_names[1]!r}, ..); are the labels ids of the examples?'
            )

    def strata(self, labels: np.ndarray, classes: int) -> list[np.ndarray]:
        """The members of each class."""
        return [np.flatnonzero(labels == label) for label in range(classes)]

    def counts(self, labels: np.ndarray, classes: int) -> list[int]:
        """Members of each class."""
        return np.bincount(labels, minlength=classes).tolist()


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


def class_indices(labels: object, what: str) -> np.ndarray:
    """Numeric labels as int32; raises UserError when they are not whole numbers.

    >>> class_indices(np.array([0.0, 2.0]), 'y')
    array([0, 2], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    numeric = labels.ndim == 1 and labels.dtype.kind in 'biuf'
    with np.errstate(invalid='ignore'):  # NaN becomes some number here, and is then unequal
        found = labels.astype(np.int32) if numeric else None
    if found is None or not np.array_equal(labels, found):
        raise UserError(
            f'{what}: labels are {labels.dtype} {labels.shape}; expected one whole number per '
            "example (or data.task='regression')"
        )
    return found


def _by_given_names(names: list[str], where: Where, known: list[str]) -> np.ndarray:
    index = {name: i for i, name in enumerate(known)}
    unknown = [row for row, name in enumerate(names) if name not in index]
    if not unknown:
        return np.array([index[name] for name in names], np.int32)
    # Numbers may stand for names, but not mixed with them: '1' could be either then.
    numbers = [whole(name) for name in names]
    spelt = [number for number in numbers if number is not None]
    if len(spelt) == len(names):
        for row, number in enumerate(spelt):
            if not 0 <= number < len(known):
                raise UserError(
                    f'{where(row)}: label {names[row]} is out of range; {len(known)} classes have '
                    f'labels 0 to {len(known) - 1}'
                )
        return np.array(spelt, np.int32)
    # What is no number is the odd one out among numbers.
    row = next((row for row in unknown if numbers[row] is None), unknown[0])
    raise UserError(
        f'{where(row)}: label {names[row]!r} is no class; {did_you_mean(names[row], known)}'
    )


def _name(value: object, where: Where, row: int) -> str:
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
