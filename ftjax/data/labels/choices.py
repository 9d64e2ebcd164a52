"""Labels of a text with several others: which one is right, or how relevant each is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError

NO_CANDIDATE = -1
"""The relevance of what fills up the candidates of a text that has fewer."""


class Choices(LabelKind):
    """int32 (N,): which of the choices is right, from 0.

    An example is a text and its choices; the network sees the text with each, and gives a number.
    """

    dtype = np.int32
    form = 'choices'
    column_sets: tuple[tuple[str, ...], ...] = (
        ('question', 'choices'),
        ('prompt', 'choices'),
        ('context', 'endings'),
        ('sent1', 'ending0', 'ending1', 'ending2', 'ending3'),
    )

    def texts_of(self, columns: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
        """The text and its choices: a column with a list of them, or one each."""
        found = given or next((names for names in self.column_sets if {*names} <= {*columns}), ())
        if not found:
            usual = ', or '.join(' and '.join(names) for names in self.column_sets[:2])
            raise UserError(
                f'no columns of a text and its choices among {", ".join(columns)}; expected '
                f'{usual}, or name them by data.text_columns'
            )
        return tuple(found)

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """From numbers, from 0, or letters, from A.

        >>> Choices().read([1, '0', 'B'], str)[0].tolist()
        [1, 0, 1]
        """
        return np.array([_choice(value, where, row) for row, value in enumerate(raw)], np.int32), ()

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """As they are, if every one is a choice."""
        for row, (texts, label) in enumerate(zip(inputs, labels, strict=True)):
            if not 0 <= label < len(texts) - 1:
                raise UserError(
                    f'{where(row)}: choice {label} of {len(texts) - 1}; expected 0 to '
                    f'{len(texts) - 2}'
                )
        return labels

    def outputs(self, class_names: Sequence[str]) -> int:
        """One number for each choice."""
        return 1

    def summary(self, labels: np.ndarray) -> str:
        """How often each choice is right."""
        counts = np.bincount(labels).tolist()
        return ', right in training: ' + ', '.join(f'{n} of {c}' for c, n in enumerate(counts))


class Relevance(Choices):
    """float32 (N, candidates): 0 or more, and NO_CANDIDATE where a text has fewer candidates."""

    dtype, axes = np.float32, 2
    fills_up = True
    label_columns = ('relevance', 'scores')
    column_sets = (
        ('query', 'candidates'),
        ('query', 'documents'),
        ('query', 'passages'),
        ('question', 'answers'),
    )

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """From lists of numbers, one for each candidate."""
        rows = []
        for row, value in enumerate(raw):
            given = value.split(separator) if isinstance(value, str) else value
            try:
                numbers = np.asarray(list(given), np.float32)
            except (TypeError, ValueError):
                numbers = np.full(1, np.nan)
            if numbers.ndim != 1 or not (np.isfinite(numbers) & (numbers >= 0)).all():
                raise UserError(
                    f'{where(row)}: relevance is {str(value)[:60]}; expected a list of numbers, 0 '
                    'or more, one for each candidate'
                )
            rows.append(numbers)
        width = max(map(len, rows), default=0)
        found = np.full((len(rows), width), NO_CANDIDATE, np.float32)
        for row, numbers in enumerate(rows):
            found[row, : len(numbers)] = numbers
        return found, ()

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """As they are, if there is one for each candidate."""
        for row, (texts, label) in enumerate(zip(inputs, labels, strict=True)):
            have = sum(bool(text) for text in texts[1:])
            given = int((label != NO_CANDIDATE).sum())
            if have != given:
                raise UserError(f'{where(row)}: {have} candidates and {given} numbers of relevance')
        return labels

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """A number for each candidate."""
        each = inputs['input_ids'].shape[:2]
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        return jax.ShapeDtypeStruct(each, np.float32), mask

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """The relevance of each candidate."""
        return ', '.join(f'{each:g}' for each in label if each != NO_CANDIDATE)

    def summary(self, labels: np.ndarray) -> str:
        """How many candidates there are."""
        candidates = int((labels != NO_CANDIDATE).sum())
        return f', {candidates:,} candidates in training, {int((labels > 0).sum()):,} relevant'


def _choice(value: Any, where: Where, row: int) -> int:
    text = str(value).strip()
    if re.fullmatch(r'\d{1,6}', text):
        return int(text)
    if re.fullmatch(r'[A-Za-z]', text):
        return ord(text.upper()) - ord('A')
    raise UserError(
        f'{where(row)}: the right choice is {text[:60]!r}; expected a number from 0, or a letter'
    )
