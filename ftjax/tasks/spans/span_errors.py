"""Spans as people read them: with their words, marked in the text, and the worst answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ftjax.data.text.word_windows import words_of
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.spans import Named, scheme_of, tag_rows
from ftjax.tasks.spans.span_metrics import names_of_tags
from ftjax.tasks.statistics import Statistics


def marked(text: str, spans: Iterable[Named]) -> str:
    """A text with brackets around some spans.

    >>> marked('Ada Lovelace wrote', [('PER', 0, 2)])
    '[Ada Lovelace](PER) wrote'
    """
    words = words_of(text)
    for kind, first, last in spans:
        words[first] = f'[{words[first]}'
        words[last - 1] = f'{words[last - 1]}]({kind})'
    return ' '.join(words)


def worst_texts(
    found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int
) -> list[dict[str, object]]:
    """The texts with most spans that are missed or not there; of equal ones the higher loss."""
    scheme = scheme_of(names_of_tags(found, class_names))
    true, answered = (tag_rows(found.rows[name]) for name in ('true', 'answered'))
    counts = scheme.counts(true, answered).sum(axis=1)
    wrong = counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]
    losses = found.rows['nats'] / np.maximum([len(tags) for tags in true], 1)
    return [
        {
            'id': str(ids[i]),
            'position': int(i),
            'label': scheme.named(true[i]),
            'predicted': scheme.named(answered[i]),
            'loss': float(losses[i]),
        }
        for i in largest(wrong + losses / (1 + losses), limit)
        if wrong[i]
    ]
