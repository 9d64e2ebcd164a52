"""The difference of two versions as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data.images.decode import opened
from ftjax.pages.elements import bullets, facts, flat, lines, paragraph, section, table
from ftjax.pages.example_card import example_card, example_cards
from ftjax.pages.page import page
from ftjax.plotting.number_formats import title_of
from ftjax.printable import in_html
from ftjax.runs.report.shown_inputs import LETTERS, picture
from ftjax.serving.comparison.changed_answers import Change, ChangedAnswers
from ftjax.serving.comparison.diff_text import (
    answer,
    changed_told,
    data_told,
    paired_told,
    told_version,
    values,
)
from ftjax.serving.comparison.version_diff import VersionDiff

_LONG = 400
"""Characters of a value of the config."""


def diff_page(found: VersionDiff, command: str, provenance: Mapping[str, Any]) -> str:
    """A page in one file, without other hosts or scripts."""
    first, second = str(found.first), str(found.second)
    parts = [
        f'<h1>{in_html(first)} → {in_html(second)}</h1>',
        paragraph('What changes if the second version takes the place of the first?', 'question'),
        *(paragraph(sentence, 'answer') for sentence in headline(found)),
        bullets(cautions(found), 'warnings') if cautions(found) else '',
        facts({first: told_version(found.first), second: told_version(found.second)}),
        section('Answers that change', _answers(found.answers, found.unanswered)),
        section('How good', _metrics(found)),
        section('Made from', _made(found)),
    ]
    made = lines(command) + facts(dict(flat(provenance)))
    parts.append(section('How to make this page again', made))
    return page(f'{first} → {second}', parts)


def headline(found: VersionDiff) -> list[str]:
    """The two sentences that a reader wants first."""
    # The caution, its last line, stands among the warnings.
    lines_of_text = list(paired_told(found))
    told = [f'{_sentence("; ".join(lines_of_text[:2]))}.']
    if found.answers is not None:
        told.append(f'{_sentence(changed_told(found.answers))}.')
    return told


def cautions(found: VersionDiff) -> list[str]:
    """What a reader must know before the numbers."""
    told = list(found.notes)
    if found.runs.paired is not None and found.runs.paired.caution:
        told.append(_sentence(found.runs.paired.caution))
    if found.runs.data.get('test') == 'differs':
        told.append('The test sets differ: the metrics below are not of the same examples.')
    if found.answers is None:
        told.append(f'Answers were not compared: {found.unanswered}')
    return told


def _answers(answers: ChangedAnswers | None, why: str) -> str:
    if answers is None:
        return paragraph(why)
    parts = []
    if not answers.changed:
        parts.append(paragraph('None.'))
    if answers.moves:
        rows = [(f'{old} → {new}', count) for old, new, count in answers.moves]
        parts.append(table(['change', 'inputs'], rows))
    if answers.examples:
        parts.append(paragraph(f'The {len(answers.examples)} largest changes.', 'legend'))
        cards = [_card(each, answers.takes) for each in answers.examples]
        parts.append(example_cards(cards, texts=answers.takes != 'images'))
    return ''.join(parts)


def _card(change: Change, takes: str) -> str:
    told = {'before': answer(change, 0), 'now': answer(change, 1)}
    if takes == 'images':
        return example_card(change.given.id, told, picture=_picture(change.given.raw))
    return example_card(change.given.id, told, texts=_texts(change.given.raw))


def _picture(raw: Any) -> str:
    """The address of an image: the path of a file, or pixels."""
    if isinstance(raw, str | bytes):
        with opened(raw, 'the image') as image:
            return picture(np.asarray(image.convert('RGB')))
    return picture(raw if raw.ndim == 3 else raw[..., None])


def _texts(raw: Any) -> list[str]:
    """A text, the texts of a pair, or a row of a table as one."""
    if isinstance(raw, Mapping):
        given = [', '.join(f'{name} = {value}' for name, value in raw.items())]
    else:
        given = [raw] if isinstance(raw, str) else [str(each) for each in raw]
    return [text if len(text) <= LETTERS else f'{text[:LETTERS]} …' for text in given]


def _metrics(found: VersionDiff) -> str:
    rows = [(title_of(pair.name), *values(pair)) for pair in found.runs.metrics]
    if not rows:
        return paragraph('Neither bundle holds metrics.')
    head = ['test metric', str(found.first), str(found.second)]
    return table(head, rows)


def _made(found: VersionDiff) -> str:
    parts = [paragraph(f'Data: {data_told(found)}.')]
    rows = [(key, *(_cut(value) for value in pair)) for key, *pair in found.runs.config]
    if rows:
        parts.append(table(['config', str(found.first), str(found.second)], rows))
    else:
        parts.append(paragraph('No key of the config is known to differ.'))
    return ''.join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cut(value: str) -> str:
    return value if len(value) <= _LONG else f'{value[:_LONG]} …'
