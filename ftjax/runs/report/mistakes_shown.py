"""The worst mistakes of a run as people look at them: a picture or a text, and the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftjax.pages.elements import paragraph
from ftjax.printable import in_html
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
_BESIDE = 24
"""Characters of a value that stands beside its name."""
_PICTURE = re.compile(r'data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+')


def mistakes_shown(report: ReportFacts) -> str:
    """The mistakes that were kept, worst first; '' where there are none."""
    kept = report.kept
    if kept is None or not kept.about['mistakes']:
        return ''
    mistakes = kept.about['mistakes']
    shown = ''.join(_example(each) for each in mistakes)
    texts = ' texts' if any('texts' in each for each in mistakes) else ''
    said = (
        f'The {len(mistakes)} worst answers on the test split, worst first. Many are wrong labels '
        'or inputs that nobody could tell.'
    )
    if any('picture' in each for each in mistakes):
        said += ' Pictures are shown as the network sees them.'
    return f'{paragraph(said)}<div class="examples{texts}">{shown}</div>'


def _example(mistake: Mapping[str, Any]) -> str:
    parts = []
    address = mistake.get('picture')
    if isinstance(address, str) and _PICTURE.fullmatch(address):
        parts.append(f'<img alt="{in_html(mistake["id"])}" src="{address}">')
    for text in mistake.get('texts', ()):
        shown = '<br>'.join(in_html(line) for line in str(text).splitlines())
        parts.append(f'<blockquote>{shown}</blockquote>')
    told = {
        _WORDS.get(name, name): _value(name, value)
        for name, value in mistake.items()
        if name not in ('id', 'picture', 'texts', 'position') and value not in ('', None)
    }
    facts = ''.join(f'<dt>{in_html(k)}</dt><dd>{in_html(v)}</dd>' for k, v in told.items())
    # Beside its name a long value would be a column of a few letters, on a card of a picture.
    long = ' class="long"' if any(len(value) > _BESIDE for value in told.values()) else ''
    # The name of a file is long: it has the whole width.
    parts.append(paragraph(mistake.get('id', ''), 'name'))
    return f'<div class="example">{"".join(parts)}<dl{long}>{facts}</dl></div>'


def _value(name: str, value: object) -> str:
    if isinstance(value, float):
        return f'{100 * value:.1f} %' if name in _SHARES else f'{value:.4g}'
    return str(value)
