"""The worst mistakes of a run as people look at them: a picture or a text, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.pages.elements import paragraph
from ftjax.pages.example_card import example_card, example_cards
from ftjax.runs.report.report_facts import ReportFacts

_SHARES = ('confidence', 'label_probability')
_WORDS = {
    'label': 'true',
    'labels': 'true',
    'predicted': 'answered',
    'confidence': 'P(answered)',
    'label_probability': 'P(true)',
    'asked': 'hidden tokens',
    'right': 'guessed right',
}


def mistakes_shown(report: ReportFacts) -> str:
    """The mistakes that were kept, worst first; '' where there are none."""
    kept = report.kept
    if kept is None or not kept.about['mistakes']:
        return ''
    mistakes = kept.about['mistakes']
    texts = any('texts' in each for each in mistakes)
    shown = example_cards([_example(each) for each in mistakes], texts)
    said = (
        f'The {len(mistakes)} worst answers on the test split, worst first. Many are wrong labels '
        'or inputs that nobody could tell.'
    )
    if any('picture' in each for each in mistakes):
        said += ' Pictures are shown as the network sees them.'
    return paragraph(said) + shown


def _example(mistake: Mapping[str, Any]) -> str:
    told = {
        _WORDS.get(name, name): _value(name, value)
        for name, value in mistake.items()
        if name not in ('id', 'picture', 'texts', 'position') and value not in ('', None)
    }
    shown = mistake.get('picture'), mistake.get('texts', ())
    return example_card(mistake.get('id', ''), told, *shown)


def _value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f'{100 * value:.1f} %' if name in _SHARES else f'{value:.4g}'
    return str(value)
