"""Labels that are tags: one for each word of a text, by name or by index."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.data.labels.names import order
from ftjax.data.missing import is_missing
from ftjax.data.text.token_masking import NOT_ASKED
from ftjax.data.text.word_windows import joined_words, words_of
from ftjax.errors import UserError, at_row

OUTSIDE = 'O'
"""The tag of a word that belongs to no span."""
UNITS = ('words', 'characters')
"""What a text that is given as one string is cut into."""
_OTHER_SCHEME = re.compile('[ESLU](-.+)?')
_OTHER_SPELLING = re.compile('[BIbi][-_:/.].+')
_BLANKS = re.compile(r'[ \t\r\n]+')
"""What parts words that stand in one string: other white space may be part of a word."""


def of_spans(names: Collection[str]) -> bool:
    """Whether tags mark where spans begin and go on: B-TYPE and I-TYPE, or B and I alone.

    >>> of_spans(['O', 'B-PER']), of_spans(['O', 'B', 'I']), of_spans(['A', 'B', 'O'])
    (True, True, False)
    """
    marks = {name for name in names if name in ('B', 'I')}
    plain = any(not re.fullmatch('[BIOESLU]', name) for name in names)
    return any(name.startswith(('B-', 'I-')) for name in names) or (
        len(marks) == 2 and OUTSIDE in names and not plain
    )


def cut(text: str) -> list[str]:
    r"""The words, or tags, of one string, parted by spaces, tabs and ends of lines.

    >>> cut(' New\xa0York  is\tbig\n')
    ['New\xa0York', 'is', 'big']
    """
    return [word for word in _BLANKS.split(text) if word]


class Tags(LabelKind):
    """int32 (N, words), indices of the class names; NOT_ASKED after the last word of a text."""

    dtype, axes, named = np.int32, 2, True
    head, form = 'tags', 'words'
    network_options = MappingProxyType({'pool': 'none'})
    text_columns = ('words', 'tokens', *LabelKind.text_columns)
    usual_columns = 'words, tokens, text or sentence'
    label_columns = ('tags', 'ner_tags')

    @property
    def several(self) -> bool:
        """False: a word has one tag."""
        return False

    def as_text(self, value: object, where: str, units: str) -> object:
        """A list of words, or one string that is cut into words or characters, as one text."""
        if isinstance(value, str):
            words = cut(value) if units == 'words' else list(value)
        elif isinstance(value, (list, tuple, np.ndarray)):
            words = list(value)
        else:
            return value
        wrong = next((word for word in words if not isinstance(word, str)), None)
        if wrong is not None:
            raise UserError(f'{where}: {wrong!r} is no word; expected a list of texts')
        if not words:
            raise UserError(f'{where}: the text holds no words')
        return joined_words(words)

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """From lists of names or indices, or texts with names parted by spaces.

        Without class names the distinct tags are the classes: O, then by type, B- before I-.

        >>> Tags().read(['B-PER I-PER O'], str)
        (array([[1, 2, 0]], dtype=int32), ('O', 'B-PER', 'I-PER'))
        """
        rows = [_tags(value, where, row) for row, value in enumerate(raw)]
        owner = [row for row, tags in enumerate(rows) for _ in tags]
        flat = [tag for tags in rows for tag in tags]
        if not class_names:
            if flat and all(isinstance(tag, int) or str(tag).isdigit() for tag in flat):
                raise UserError(
                    f'{where(0)}: the tags are numbers, which do not tell what begins a span; say '
                    "their names in order: data.class_names=('O','B-PER','I-PER', ..)"
                )
            class_names = _sorted({str(tag) for tag in flat})
        at = {str(tag): row for tag, row in zip(reversed(flat), reversed(owner), strict=True)}
        _check_scheme(class_names, lambda name: where(at.get(name, 0)))
        found, names = Classes().read(flat, lambda i: where(owner[i]), tuple(class_names))
        labels = np.full((len(rows), max(map(len, rows), default=0)), NOT_ASKED, np.int32)
        sizes = np.array([len(tags) for tags in rows])
        labels[np.arange(labels.shape[1]) < sizes[:, None]] = found
        return labels, names

    def check(self, name: str, labels: np.ndarray, classes: int) -> None:
        """From 0 to classes - 1, and NOT_ASKED after the last word."""
        wrong = np.argwhere((labels < NOT_ASKED) | (labels >= classes))
        if wrong.size and labels.ndim == 2:
            row, word = wrong[0]
            raise UserError(
                f'{name}: tag {labels[row, word]} of word {word + 1} of {at_row(row)} is out of '
                f'range; {classes} tags have numbers 0 to {classes - 1}'
            )

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """As they are, if there is a tag for each word."""
        for row, (text, tags) in enumerate(zip(inputs, labels, strict=True)):
            words, given = len(words_of(text)), int((tags != NOT_ASKED).sum())
            if words != given:
                raise UserError(
                    f'{where(row)}: {words} words and {given} tags; expected a tag for each word '
                    "(data.units='characters' cuts a text into characters)"
                )
        return labels

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Two tags or more occur; others may be those of words that other splits have."""
        occurring = np.unique(labels[labels != NOT_ASKED])
        if len(occurring) < 2:
            told = class_names[occurring[0]] if len(occurring) else 'none'
            raise UserError(f'{name}: one tag only ({told!r}); expected two or more to tell apart')

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[object, object]:
        """One label a token."""
        each = inputs['input_ids'].shape
        return jax.ShapeDtypeStruct(each, np.int32), jax.ShapeDtypeStruct(each, np.float32)

    def is_missing(self, value: object) -> bool:
        """No tag at all."""
        return is_missing(value) or (isinstance(value, (list, tuple)) and not value)

    def renumbered(self, labels: np.ndarray, where: np.ndarray, classes: int) -> np.ndarray:
        """Tags by their new numbers; what fills rows up stays."""
        return np.where(labels == NOT_ASKED, NOT_ASKED, where[np.maximum(labels, 0)])

    def counts(self, labels: np.ndarray, classes: int) -> list[int]:
        """Words of each tag."""
        return np.bincount(labels[labels != NOT_ASKED], minlength=classes).tolist()

    def told(self, label: object, class_names: Sequence[str]) -> str:
        """The tags, parted by spaces."""
        return ' '.join(class_names[tag] for tag in np.asarray(label) if tag != NOT_ASKED)


def _tags(value: object, where: Where, row: int) -> list[object]:
    if isinstance(value, str):
        value = cut(value)
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise UserError(
            f'{where(row)}: the tags are {str(value)[:60]!r}; expected a list, one for each word'
        )
    return [tag.item() if isinstance(tag, np.generic) else tag for tag in value]


def _sorted(names: set[str]) -> tuple[str, ...]:
    by = order(names)

    def place(name: str) -> Any:
        mark, dash, kind = name.partition('-')
        spans = (dash or not kind) and mark in ('B', 'I')
        return (name != OUTSIDE, kind, mark) if spans else (name != OUTSIDE, by(name), '')

    if of_spans(names):
        return tuple(sorted(names, key=place))
    return tuple(sorted(names, key=lambda name: (name != OUTSIDE, by(name))))


def _check_scheme(names: Sequence[str], where: Callable[[str], str]) -> None:
    """UserError for tags of another scheme than IOB2 where some have its marks.

    Args:
      names: of all tags.
      where: of a tag: where it stands first.
    """
    if not of_spans(names):
        other = {name for name in names if _OTHER_SPELLING.fullmatch(name)}
        both = (name for name in other if name[0] in 'Bb')
        wrong = next((b for b in both if {f'I{b[1:]}', f'i{b[1:]}'} & other), None)
        if wrong is not None:
            raise UserError(
                f'{where(wrong)}: tags as {wrong!r} seem to be of IOB2 in another spelling; '
                f"expected 'B-{wrong[2:]}' and 'I-{wrong[2:]}', and O"
            )
        return
    spans = {name for name in names if name.startswith(('B-', 'I-')) or name in ('B', 'I')}
    dashed = {len(name) > 1 for name in spans}
    if len(dashed) > 1:
        wrong = next(name for name in names if name in ('B', 'I'))
        raise UserError(
            f'{where(wrong)}: tag {wrong!r} has no type, and others have; expected O, B-TYPE or '
            'I-TYPE'
        )
    wrong = next((name for name in names if _OTHER_SCHEME.fullmatch(name)), None)
    if wrong is not None:
        raise UserError(
            f'{where(wrong)}: tag {wrong!r} beside B- and I- is of BIOES or BILOU; expected IOB2: '
            'write S- and U- as B-, E- and L- as I-'
        )
    wrong = next((name for name in names if name not in spans and name != OUTSIDE), None)
    if wrong is not None:
        raise UserError(
            f'{where(wrong)}: tag {wrong!r} stands beside B- and I-; expected O, B-TYPE or I-TYPE'
        )
    wrong = next((n for n in names if n[0] == 'I' and f'B{n[1:]}' not in spans), None)
    if wrong is not None:
        raise UserError(
            f'{where(wrong)}: there is {wrong} and no B{wrong[1:]}: these tags are of IOB1; '
            'expected IOB2, where the first word of each span has B-'
        )
