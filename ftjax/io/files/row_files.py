"""Tables written row by row, whole or not at all: CSV that no spreadsheet runs, and JSON lines."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.files.owned_files import whole_file
from ftjax.printable import in_spreadsheet

KINDS = ('.csv', '.jsonl')
_NUMBER = r'-?(\d+(\.\d*)?(e[+-]?\d+)?|nan|inf)'
_NUMBERS = re.compile(rf'{_NUMBER}([ |]{_NUMBER})*')
"""Numbers in one text, the scores of candidates say: whatever their sign, nothing can be run."""
Write = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def row_file(path: str | os.PathLike[str]) -> Iterator[Write]:
    """A function that adds a row; the file replaces `path` at the end, and nothing before.

    In a CSV file the first row names the columns, all rows have them, numbers are as Python
    writes them (they read back exactly; so do several in one text), and other texts are made safe:
    control characters are escapes, what a spreadsheet would take for a formula has an apostrophe
    before it.

    Raises:
      UserError: another ending than .csv or .jsonl; the file cannot be written.
    """
    check_kind(path)
    with whole_file(path) as file:
        yield _csv_rows(file) if _suffix(path) == '.csv' else _json_rows(file)


def check_kind(path: str | os.PathLike[str]) -> None:
    """UserError unless rows can be written to a file of this name."""
    if _suffix(path) not in KINDS:
        raise UserError(f'{os.fspath(path)}: rows are written to {" or ".join(KINDS)} files')


def _suffix(path: str | os.PathLike[str]) -> str:
    return pathlib.Path(path).suffix.lower()


def _csv_rows(file: BinaryIO) -> Write:
    named: list[str] = []

    def write(row: Mapping[str, Any]) -> None:
        lines = io.StringIO(newline='')
        table = csv.writer(lines, lineterminator='\n')
        if not named:
            named.extend(row)
            table.writerow([in_spreadsheet(name) for name in named])
        table.writerow([_cell(row[name]) for name in named])
        file.write(lines.getvalue().encode('utf-8'))

    return write


def _cell(value: object) -> str:
    if value is None:
        return ''
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str) and _NUMBERS.fullmatch(value):
        return value
    return in_spreadsheet(value)


def _json_rows(file: BinaryIO) -> Write:
    def write(row: Mapping[str, Any]) -> None:
        # ASCII alone: what a terminal would obey is an escape.
        text = json.dumps(to_jsonable(dict(row)), allow_nan=False)
        file.write(text.encode() + b'\n')

    return write
