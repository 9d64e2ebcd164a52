"""One row of a table: where it stands, and its cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftjax.errors import UserError, at_row, did_you_mean


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a file: its number from 1, and its cells by column."""

    file: Path
    line: int
    cells: Mapping[str, object]
    short: str = ''
    """How ids call the file; '' for its name."""

    @property
    def id(self) -> str:
        """Of its example: `train.csv:7`."""
        return f'{self.short or self.file.name}:{self.line}'

    @property
    def where(self) -> str:
        """For messages: `train.csv line 7`."""
        return f'{self.file} line {self.line}'


class HeldRow(Row):
    """One row of what a program holds: `line` is its position, from 0, as ids have it."""

    @property
    def where(self) -> str:
        """For messages: `given in Python, row 7 (counted from 1)`."""
        return f'{self.file}, {at_row(self.line)}'


def cell(row: Row, column: str) -> Any:
    """The value in a column; UserError where the row, an object of JSONL, has none of that name."""
    if column not in row.cells:
        near = did_you_mean(column, row.cells)
        raise UserError(f'{row.where}: no {column!r}; {near}')
    return row.cells[column]
