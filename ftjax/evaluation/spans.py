"""Spans of words that tags say, and how many of them two sequences of tags have in common."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ftjax.data.labels.tags import OUTSIDE, of_spans
from ftjax.data.text.word_windows import words_of

Span = tuple[int, int, int]
"""(type, first word, word after the last)."""
UNTYPED = 'span'
"""The type of spans whose tags, B and I, have none."""
Named = tuple[str, int, int]
"""The same with the name of its type."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What tags mean: for each a mark, and a type or -1.

    IOB2, where every tag is O, B-TYPE or I-TYPE: B- begins a span, and an I- carries on one of its
    type; an I- after anything else opens nothing. B and I alone are of one type. Other tags are
    plain: with an O among them a run of one tag is a span, without (parts of speech) each word is.
    """

    marks: tuple[str, ...]
    """`B` begins a span, `I` carries one on, `R` is of a run, `W` one of a word, `O` of none."""
    kinds: tuple[int, ...]
    types: tuple[str, ...]

    def spans(self, tags: Sequence[int] | np.ndarray) -> Iterator[Span]:
        """The spans of one text, in order.

        >>> list(scheme_of(('O', 'B-PER', 'I-PER')).spans([1, 2, 0, 2, 1]))
        [(0, 0, 2), (0, 4, 5)]
        """
        kind, start = -1, 0
        for place, tag in enumerate(tags):
            mark, own = self.marks[tag], self.kinds[tag]
            if mark in 'IR' and own == kind:
                continue
            if kind >= 0:
                yield kind, start, place
            kind, start = (own, place) if mark in 'BRW' else (-1, place)
        if kind >= 0:
            yield kind, start, len(tags)

    def named(self, tags: Sequence[int] | np.ndarray) -> list[Named]:
        """The spans of one text with the names of their types."""
        return [(self.types[kind], first, last) for kind, first, last in self.spans(tags)]

    def counts(self, true: Sequence[np.ndarray], answered: Sequence[np.ndarray]) -> np.ndarray:
        """Spans of each text and type that are found, answered and true: int64 (n, types, 3).

        A span is found if type and both ends are equal.
        """
        found = np.zeros((len(true), len(self.types), 3), np.int64)
        for row, pair in enumerate(zip(true, answered, strict=True)):
            wanted, given = (set(self.spans(tags)) for tags in pair)
            for column, spans in enumerate((wanted & given, given, wanted)):
                for kind, _, _ in spans:
                    found[row, kind, column] += 1
        return found


@functools.lru_cache(maxsize=64)
def scheme_of(names: tuple[str, ...]) -> Scheme:
    """The scheme of tags by their names.

    >>> scheme_of(('NOUN', 'VERB')).marks, scheme_of(('O', 'PER')).marks
    (('W', 'W'), ('O', 'R'))
    """
    iob = of_spans(names) and all(re.fullmatch('O|[BI](-.*)?', name) for name in names)
    inner = 'R' if OUTSIDE in names else 'W'
    parts = [
        ('O', '') if name == OUTSIDE else (name[0], name[2:] or UNTYPED) if iob else (inner, name)
        for name in names
    ]
    types = tuple(dict.fromkeys(kind for mark, kind in parts if mark != 'O'))
    kinds = tuple(-1 if mark == 'O' else types.index(kind) for mark, kind in parts)
    return Scheme(tuple(mark for mark, _ in parts), kinds, types)


def tag_rows(rows: np.ndarray) -> list[np.ndarray]:
    """The tags of each text without the -1 that fill rows up."""
    return [row[row >= 0] for row in rows]


def told_spans(text: str, spans: Iterable[Named]) -> list[str]:
    """Spans with their words.

    >>> told_spans('Ada Lovelace wrote', [('PER', 0, 2)])
    ['PER[0:2] Ada Lovelace']
    """
    words = words_of(text)
    return [f'{kind}[{first}:{last}] {" ".join(words[first:last])}' for kind, first, last in spans]
