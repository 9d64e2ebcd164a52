"""A whole page: one file that asks for no other and runs no script."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.pages.style_sheet import STYLE
from ftjax.printable import in_html


def page(title: str, parts: Sequence[str]) -> str:
    """A page of a title and of parts that are HTML already.

    >>> page('a < b', ['<p>c</p>']).count('a &lt; b')
    1
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{in_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n'
        + '\n'.join(parts)
        + '\n</main>\n</body>\n</html>\n'
    )
