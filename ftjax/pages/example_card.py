"""One example on a page: a picture or texts, its name, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ftjax.pages.elements import paragraph
from ftjax.printable import in_html

_BESIDE = 24
"""Characters of a value that stands beside its name."""
_PICTURE = re.compile(r'data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+')


def example_card(
    name: object, told: Mapping[str, str], picture: object = '', texts: Sequence[object] = ()
) -> str:
    """A card; `picture` is an address that holds it, anything else is left out."""
    parts = []
    if isinstance(picture, str) and _PICTURE.fullmatch(picture):
        parts.append(f'<img alt="{in_html(name)}" src="{picture}">')
    for text in texts:
        shown = '<br>'.join(in_html(line) for line in str(text).splitlines())
        parts.append(f'<blockquote>{shown}</blockquote>')
    facts = ''.join(f'<dt>{in_html(k)}</dt><dd>{in_html(v)}</dd>' for k, v in told.items())
    # Beside its name a long value would be a column of a few letters, on a card of a picture.
    long = ' class="long"' if any(len(value) > _BESIDE for value in told.values()) else ''
    # The name of a file is long: it has the whole width.
    parts.append(paragraph(name, 'name'))
    return f'<div class="example">{"".join(parts)}<dl{long}>{facts}</dl></div>'


def example_cards(cards: Sequence[str], texts: bool = False) -> str:
    """Cards beside each other, or below each other where they hold texts."""
    return f'<div class="examples{" texts" * texts}">{"".join(cards)}</div>'
