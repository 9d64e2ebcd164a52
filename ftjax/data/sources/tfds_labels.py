"""Labels of TensorFlow Datasets: indices of declared classes, or what the records hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.classes import class_indices
from ftjax.data.labels.names import whole
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError


def labels_of_splits(
    raw: Mapping[str, tuple[str, Sequence[Any]]], declared: tuple[str, ...], settings: DataSettings
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The labels of each split, and the classes of all splits together.

    Args:
      raw: by split, what it is called and the labels of its records.
      declared: the class names of the feature, whose values are then indices; () for none.
      settings: of the data.
    """
    kind, names = settings.label_kind, settings.class_names or declared
    values = [plain(value) for _, own in raw.values() for value in own]
    numbers = all(isinstance(value, (int, float)) for value in values)
    if kind.one_class and names and numbers:
        return {part: class_indices(own, where) for part, (where, own) in raw.items()}, names
    places = [f'{where} [{i}]' for where, own in raw.values() for i in range(len(own))]
    # An index is no spelling of a name: of the classes '1', '2', '3' the index 1 is the second.
    spelt = bool(declared) and any(whole(name) is not None for name in names)
    known = tuple(map(str, range(len(names)))) if spelt else names
    labels, read = kind.read(values, places.__getitem__, known, settings.label_separator)
    ends = np.cumsum([len(own) for _, own in raw.values()])[:-1]
    return dict(zip(raw, np.split(labels, ends), strict=True)), names if spelt else read


def class_names_of(feature: Any) -> tuple[str, ...]:
    """Of a ClassLabel, or of a Sequence of them, as multi-label data have."""
    names = getattr(feature, 'names', None) or getattr(
        getattr(feature, 'feature', None), 'names', None
    )
    return tuple(names or ())


def plain(value: object) -> object:
    """A label as str, a number, or a list of these."""
    if isinstance(value, bytes | str):
        return text_of(value)
    array = np.asarray(value)
    return [plain(part) for part in array] if array.ndim else array.item()


def text_of(value: Any) -> str:
    """A text of a record, which holds bytes; UserError for one that is not UTF-8."""
    try:
        return value.decode('utf-8') if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise UserError(f'a text of the data is not UTF-8: {value[:60]!r}') from error
