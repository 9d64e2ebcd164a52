"""Labels that are sets of classes: any number of them an example, as 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError, at_row


class MultiHot(LabelKind):
    """float32 (N, classes), 1 where the class applies and 0 elsewhere."""

    axes, named, parted = 2, True, True

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """From texts with names parted by the separator, or lists of names or indices.

        Either may be empty.
        """
        rows = [list(_parts(value, separator)) for value in raw]
        owner = [row for row, parts in enumerate(rows) for _ in parts]
        flat = [part for parts in rows for part in parts]
        if not flat:
            raise UserError(f'{where(0)}: no example has any label; data.task is multilabel')
        labels, names = Classes().read(flat, lambda i: where(owner[i]), tuple(class_names))
        hot = np.zeros((len(rows), len(names)), np.float32)
        hot[owner, labels] = 1
        return hot, names

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """From arrays (N, classes) of 0 and 1."""
        first = next(iter(raw.values()))
        columns = first.shape[-1] if first.ndim == 2 else 0
        names = names or tuple(str(i) for i in range(columns))
        for part, values in raw.items():
            self.check(where(part), values, len(names))
        return names, {part: values.astype(np.float32) for part, values in raw.items()}

    def is_missing(self, value: object) -> bool:
        """Never: an example may have none of the classes."""
        return False

    def rows(self, raw: np.ndarray) -> np.ndarray:
        """As it is."""
        return raw

    def check(self, name: str, labels: np.ndarray, classes: int) -> None:
        """0 or 1, one column a class."""
        if labels.ndim != 2 or labels.shape[1] != classes:
            raise UserError(
                f'{name}: multi-label labels have shape {labels.shape}; expected (N, {classes}), '
                'one column a class'
            )
        if classes < 2:
            raise UserError(f'{name}: {classes} classes; several labels an example need 2 or more')
        wrong = np.argwhere((labels != 0) & (labels != 1))
        if len(wrong):
            row, column = wrong[0]
            raise UserError(
                f'{name}: label {labels[row, column]:g} of {at_row(row)}, class {column}; expected '
                '0 or 1'
            )

    def renumbered(self, labels: np.ndarray, where: np.ndarray, classes: int) -> np.ndarray:
        """Columns in their new places, 0 in the others."""
        found = np.zeros((len(labels), classes), labels.dtype)
        found[:, where] = labels
        return found

    def loses(self, labels: np.ndarray, parts: list[np.ndarray]) -> bool:
        """Whether all examples of some label are in one of the parts."""
        whole = labels.sum(axis=0)
        return any(((whole > 0) & (labels[p].sum(axis=0) == whole)).any() for p in parts)

    def counts(self, labels: np.ndarray, classes: int) -> list[int]:
        """Examples that have each class."""
        return labels.sum(axis=0).astype(int).tolist()


def _parts(value: object, separator: str) -> Sequence[object]:
    """The labels of one example; none for an empty text or null."""
    if value is None:
        return []
    if isinstance(value, (list, tuple, np.ndarray)):
        return [part.item() if isinstance(part, np.generic) else part for part in value]
    if not isinstance(value, str):
        return [value]
    return [part for part in value.split(separator) if part.strip()]
