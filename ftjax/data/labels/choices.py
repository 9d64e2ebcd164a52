"""Labels of a text with several others: which one is right, or how relevant each is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError

NO_CANDIDATE = -1
"""The relevance of what fills up the candidates of a text that has fewer."""


class Choices(LabelKind):
    """int32 (N, 2): which of the choices is right, from 0, and how many there are.

    An example is a text and its choices; the network sees the text with each, and gives a number.
    Examples with fewer choices than others are filled up with empty texts, which count for nothing.
    """

    dtype: Any = np.int32
    axes = 2
    form = 'choices'
    fills_up = True
    lists_from = 1
    fewest_texts = 3
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
        [[1], [0], [1]]
        """
        found = [_choice(value, where, row) for row, value in enumerate(raw)]
        return np.array(found, np.int32).reshape(-1, 1), ()

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """With how many choices there are, if every one is a choice."""
        counts = _without_holes(inputs, where)
        for row, (choices, (label, *_)) in enumerate(zip(counts, labels, strict=True)):
            if choices < 2:
                raise UserError(f'{where(row)}: {choices} choices; expected 2 or more')
            if not 0 <= label < choices:
                raise UserError(
                    f'{where(row)}: choice {label} of {choices}; expected 0 to {choices - 1}'
                )
        return np.stack([labels[:, 0], np.array(counts, np.int32)], axis=1)

    def outputs(self, class_names: Sequence[str]) -> int:
        """One number for each choice."""
        return 1

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """The right choice, and how many there are."""
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        return jax.ShapeDtypeStruct((examples, 2), np.int32), mask

    def hashed(self, labels: np.ndarray) -> Iterator[bytes | np.ndarray]:
        """The right choices: how many there are is told by the inputs."""
        return super().hashed(labels[:, 0])

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """The right choice, from 0."""
        return str(int(label[0]))

    def summary(self, labels: np.ndarray) -> str:
        """How many choices there are, and how often each is right."""
        counts, few, most = np.bincount(labels[:, 0]), *_ends(labels[:, 1])
        told = f'{few}' if few == most else f'{few} to {most}'
        right = ', '.join(f'{n} of {c}' for c, n in enumerate(counts.tolist()))
        return f', {told} choices each, right in training: {right}'


class Relevance(Choices):
    """float32 (N, candidates): 0 or more, and NO_CANDIDATE where a text has fewer candidates."""

    dtype, parted = np.float32, True
    fewest_texts = 2
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
                with np.errstate(over='ignore'):  # infinity is refused below
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
        counts = _without_holes(inputs, where)
        for row, (have, label) in enumerate(zip(counts, labels, strict=True)):
            given = int((label != NO_CANDIDATE).sum())
            if not have:
                raise UserError(f'{where(row)}: no candidates; expected at least one')
            if have != given:
                raise UserError(f'{where(row)}: {have} candidates and {given} numbers of relevance')
        return labels

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """A number for each candidate."""
        each = inputs['input_ids'].shape[:2]
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        return jax.ShapeDtypeStruct(each, np.float32), mask

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """A query with candidates that are not alike."""
        least = np.where(labels == NO_CANDIDATE, np.inf, labels).min(axis=1, initial=np.inf)
        if len(labels) and not (labels.max(axis=1, initial=NO_CANDIDATE) > least).any():
            raise UserError(
                f'{name}: all candidates of each query are equally relevant; expected some that '
                'are more relevant than others of their query'
            )

    def hashed(self, labels: np.ndarray) -> Iterator[bytes | np.ndarray]:
        """All numbers."""
        return LabelKind.hashed(self, labels)

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """The relevance of each candidate."""
        return ', '.join(f'{each:g}' for each in label if each != NO_CANDIDATE)

    def summary(self, labels: np.ndarray) -> str:
        """How many candidates there are."""
        candidates = int((labels != NO_CANDIDATE).sum())
        return f', {candidates:,} candidates in training, {int((labels > 0).sum()):,} relevant'


def texts_there(texts: Sequence[str]) -> int:
    """How many of the texts of an example are there: empty ones at the end fill it up.

    >>> texts_there(['question', 'one', 'two', '']), texts_there(['', 'one', 'two'])
    (3, 3)
    """
    return max((number for number, text in enumerate(texts, 1) if text), default=0)


def hole(texts: Sequence[str]) -> str:
    """Which of several texts is empty and stands before another; '' where none does.

    >>> hole(['', 'one', 'two', '']), hole(['question', '', 'two'])
    ('', 'text 0 of 2 is empty')
    """
    there = texts[1 : texts_there(texts)]
    empty = next((number for number, text in enumerate(there) if not text), None)
    return '' if empty is None else f'text {empty} of {len(there)} is empty'


def _without_holes(inputs: Any, where: Where) -> list[int]:
    """How many texts each example has after its first."""
    for row, texts in enumerate(inputs):
        if hole(texts):
            raise UserError(f'{where(row)}: {hole(texts)}; leave it out, or write what it says')
    return [texts_there(texts) - 1 for texts in inputs]


def filled_up(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Examples of as many texts each: those with fewer end with empty ones.

    >>> filled_up([('q', 'a'), ('q', 'a', 'b')])
    [('q', 'a', ''), ('q', 'a', 'b')]
    """
    longest = max(map(len, rows), default=0)
    return [row + ('',) * (longest - len(row)) for row in rows]


def _ends(counts: np.ndarray) -> tuple[int, int]:
    return (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)


def _choice(value: Any, where: Where, row: int) -> int:
    text = str(value).strip()
    if re.fullmatch(r'\d{1,6}', text):
        return int(text)
    if re.fullmatch(r'[A-Za-z]', text):
        return ord(text.upper()) - ord('A')
    raise UserError(
        f'{where(row)}: the right choice is {text[:60]!r}; expected a number from 0, or a letter'
    )
