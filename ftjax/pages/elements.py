"""Elements of a page: every text that they are given is written as text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from ftjax.printable import in_html

_WIDEST = 9.6
"""Inches of a drawing that fills the page."""


def section(title: str, content: str) -> str:
    """A headed part of a page; its content is HTML already."""
    return f'<section>\n<h2>{in_html(title)}</h2>\n{content}\n</section>'


def paragraph(text: object, kind: str = '') -> str:
    """A paragraph, of a class of the style sheet.

    >>> paragraph('3 < 4', 'legend')
    '<p class="legend">3 &lt; 4</p>'
    """
    named = f' class="{kind}"' if kind else ''
    return f'<p{named}>{in_html(text)}</p>'


def bullets(items: Sequence[str], kind: str = '') -> str:
    """A list of sentences."""
    named = f' class="{kind}"' if kind else ''
    return f'<ul{named}>' + ''.join(f'<li>{in_html(item)}</li>' for item in items) + '</ul>'


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that scrolls by itself where the screen is narrower; names at the left."""
    head = ''.join(f'<th scope="col">{in_html(cell)}</th>' for cell in header)
    body = ''.join(
        f'<tr><th scope="row">{in_html(row[0])}</th>'
        + ''.join(f'<td>{_nobreak(str(cell))}</td>' for cell in row[1:])
        + '</tr>'
        for row in rows
    )
    return (
        '<div class="wide" tabindex="0"><table>'
        f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def facts(values: Mapping[str, object]) -> str:
    """Names with what they are, a line each."""
    rows = ''.join(
        f'<tr><th scope="row">{in_html(name)}</th><td>{in_html(value)}</td></tr>'
        for name, value in values.items()
    )
    return f'<table class="facts">{rows}</table>'


def flat(value: object, name: str = '', *, spoken: bool = True) -> Iterator[tuple[str, str]]:
    """What JSON holds as facts: (name, text), nested names joined by spaces.

    Args:
      value: what `json.loads` gives.
      name: what the value is called.
      spoken: write underscores of names as spaces; not where names are a user's own.

    >>> list(flat({'git': {'commit': 'ab', 'dirty': False}, 'seeds': [0, 1]}))
    [('git commit', 'ab'), ('git dirty', 'no'), ('seeds', '0, 1')]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(item, f'{name} {key}'.strip(), spoken=spoken)
        return
    if spoken:
        name = name.replace('_', ' ')
    if isinstance(value, list) and all(not isinstance(item, (list, dict)) for item in value):
        yield name, ', '.join('–' if item is None else str(item) for item in value)
    else:
        words = {None: '–', True: 'yes', False: 'no'}
        known = value is None or isinstance(value, bool)
        yield name, words[value] if known else str(value)


def lines(text: str) -> str:
    """Text of many lines, as in a terminal."""
    return '<pre>' + '\n'.join(in_html(line) for line in text.split('\n')) + '</pre>'


def details(summary: str, text: str) -> str:
    """Text of many lines that opens on a click."""
    return f'<details><summary>{in_html(summary)}</summary>{lines(text)}</details>'


def figure(drawing: bytes, inches: float, caption: str) -> str:
    """An SVG drawing of a width in inches, inside the page."""
    small = _small_svg(drawing.decode())
    # The width it was drawn for, so that letters have the size of the text around.
    width = min(100, 100 * inches / _WIDEST)
    return (
        f'<figure><img style="width: {width:.0f}%" alt="{in_html(caption)}" '
        f'src="data:image/svg+xml,{small}">'
        f'<figcaption>{in_html(caption)}</figcaption></figure>'
    )


def _small_svg(drawing: str) -> str:
    """An SVG as the text of an address: a report with many is sent around whole.

    Left out are line ends and indents, matplotlib's description of itself, and what is below a
    thousandth of a point. Escaped is what would end the address; base64 would take a third more.
    """
    small = re.sub(r'\s*\n\s*', ' ', drawing)
    small = re.sub(r'<metadata>.*?</metadata> ?', '', small)
    small = re.sub(r'(\d\.\d{3})\d+', r'\1', small)
    if "'" not in small:
        small = small.replace('"', "'")  # which need no escape
    return re.sub(r'[^\x20-\x7e]|["%#&]', lambda found: quote(found[0]), small)


def data_address(data: bytes, kind: str) -> str:
    """Bytes of a media type as an address that holds them."""
    return f'data:{kind};base64,{base64.b64encode(data).decode("ascii")}'


def _nobreak(cell: str) -> str:
    # A value may part from its interval or note, but none may break inside.
    return ' '.join(
        f'<span class="nb">{in_html(piece)}</span>' for piece in re.split(r' (?=[\[(])', cell)
    )
