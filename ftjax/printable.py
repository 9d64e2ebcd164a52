"""Names and texts that come from data, made safe to show: one function for each place.

A class, an arm or a file may be called anything. What a terminal would obey, what would end a
table cell or become markup is written as an escape instead.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Line and paragraph ends, controls, marks that turn the reading direction, half surrogates.
_UNSEEN = {'Cc', 'Cf', 'Cs', 'Cn', 'Zl', 'Zp'}
# Joiners shape letters in Persian, Hindi and emoji, and show nothing of their own.
_JOINERS = {'\u200c', '\u200d'}
# What a formula begins with, also in full width.
_CALCULATED = {'=', '+', '-', '@', '\uff1d', '\uff0b', '\uff0d', '\uff20'}


def printable(text: object) -> str:
    r"""A name on one line of a terminal: what is not shown as a character is an escape.

    >>> printable('cat\x1b[2J\nmat'), printable('Käse 猫')
    ('cat\\x1b[2J\\nmat', 'Käse 猫')
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return ''.join(
        char if unicodedata.category(char) not in _UNSEEN or char in _JOINERS else _escaped(char)
        for char in text
    )


def printable_lines(text: object) -> str:
    r"""As `printable`, for text whose line ends are its own.

    >>> printable_lines('a\x07\nb')
    'a\\x07\nb'
    """
    return '\n'.join(printable(line) for line in str(text).split('\n'))


def in_markdown(text: object) -> str:
    r"""Text inside a paragraph or a cell of a Markdown file, where it must be no markup.

    >>> print(in_markdown('a|b <script> 3 < 4 [x](y)'))
    a\|b &lt;script> 3 < 4 [x]\(y)
    """
    text = printable(text).replace('|', '\\|').replace('](', ']\\(')
    # Only what could open a tag: a p value is written <0.001.
    return re.sub(r'<(?=[A-Za-z/!?])', '&lt;', text)


def in_html(text: object) -> str:
    """Text between tags or in a quoted attribute.

    >>> in_html('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(printable(text), quote=True)


def in_spreadsheet(text: object) -> str:
    """A cell of a CSV file: what a spreadsheet would calculate gets an apostrophe before it.

    Source: OWASP, CSV injection.

    >>> in_spreadsheet('=HYPERLINK(1)'), in_spreadsheet('cat'), in_spreadsheet('-')
    ("'=HYPERLINK(1)", 'cat', "'-")
    """
    text = printable(text)
    # Spaces before the sign do not keep a spreadsheet from it.
    return f"'{text}" if text.lstrip()[:1] in _CALCULATED else text


def in_figure(text: object) -> str:
    r"""Text that matplotlib draws, where dollars would enclose formulas.

    >>> print(in_figure('$x_1$'))
    \$x_1\$
    """
    return printable(text).replace('$', '\\$')


def aligned(rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows of cells as lines whose columns begin below each other; cells on one line each.

    >>> aligned([['a', 'bc'], ['def', 'g']])
    ['a    bc', 'def  g']
    """
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        '  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _escaped(char: str) -> str:
    return char.encode('unicode_escape').decode('ascii')
