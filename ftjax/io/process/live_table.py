"""A table that grows while a loop goes on: lines of text, or one table in a notebook's cell."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from ftjax.pages.elements import paragraph, table
from ftjax.printable import printable

_WIDTH = 9
"""Letters of a column, at least."""
_SHOWN = 15
"""Rows that a notebook shows: the last ones."""


class LiveTable:
    """Rows of texts under headings.

    >>> rows = LiveTable()
    >>> for line in rows.add({'epoch': '1', 'val loss': '0.5'}, 'best so far'):
    ...     print(line)
        epoch   val loss
            1        0.5  best so far
    """

    def __init__(self):
        self.rows: list[tuple[list[str], str]] = []
        self.heads: list[str] = []
        self.handle: Any = None
        """What a notebook shows it in; None elsewhere."""

    def add(self, values: Mapping[str, str], note: str = '') -> list[str]:
        """Takes a row; gives the lines that a terminal shows for it."""
        heads = [printable(name) for name in values]
        cells = [printable(value) for value in values.values()]
        widths = [max(_WIDTH, len(head)) for head in heads]
        begins = heads != self.heads
        self.heads = heads
        self.rows.append((cells, printable(note)))

        def line(texts: list[str]) -> str:
            return '  '.join(text.rjust(w) for text, w in zip(texts, widths, strict=True))

        told = f'{line(cells)}  {printable(note)}'.rstrip()
        return [line(heads), told] if begins else [told]

    def in_notebook(self) -> bool:
        """Whether a notebook's kernel runs this; its cell then gets the table."""
        shell = getattr(sys.modules.get('IPython'), 'get_ipython', lambda: None)()
        return shell is not None and hasattr(shell, 'kernel')

    def show(self, status: str) -> None:
        """Shows a line and the last rows in the notebook's cell, in place of what it shows."""
        display = importlib.import_module('IPython.display')
        page = display.HTML(self.html(status))
        if self.handle is None:
            self.handle = display.display(page, display_id=True)
        else:
            self.handle.update(page)

    def html(self, status: str) -> str:
        """A line and the last rows."""
        rows = [[*cells, note] for cells, note in self.rows[-_SHOWN:]]
        return paragraph(status) + (table([*self.heads, ''], rows) if rows else '')
