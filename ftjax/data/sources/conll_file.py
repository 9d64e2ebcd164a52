"""CoNLL files: a word and its tags on each line, an empty line after each sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.tables.columns import parts_from_rows, table_files
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.sources.text_file import lines_of, read_text
from ftjax.errors import UserError

SUFFIXES = ('.conll', '.txt', '.bio', '.iob', '.iob2', '.tsv')
WORDS, TAGS = 'words', 'tags'
_BETWEEN_DOCUMENTS = '-DOCSTART-'
_ENDS = ' \t\r'
"""White space around cells; a space that does not break is part of a word."""


def read(argument: str, settings: DataSettings) -> Parts:
    """A file, or a folder with train, val and test files.

    The word is in the first column and its tag in the last; data.text_column and data.label_column
    name others by their place, '0', '1' and so on. Columns are parted by data.delimiter, by a tab
    where the first line has one, or by spaces; other white space is part of a word. Lines of
    `-DOCSTART-` are left out, and comments: lines that begin with # and have another number of
    columns than the first line without one.

    Raises:
      UserError: naming file and line of what cannot be read.
    """
    if settings.label_kind.form != WORDS:
        raise UserError(
            f'data.source {settings.source!r} has a tag for each word, for data.task '
            f'token_classification, not {settings.task}'
        )
    files = table_files(argument, settings, SUFFIXES)
    rows = {split: list(sentences(path, settings)) for split, path in files.items()}
    named = dataclasses.replace(settings, text_column=WORDS, label_column=TAGS)
    return parts_from_rows(files, rows, named)


def sentences(path: Path, settings: DataSettings, tagged: bool = True) -> Iterator[Row]:
    """A row for each sentence of a file: its WORDS and, where they are wanted, its TAGS."""
    words: list[str] = []
    tags: list[str] = []
    first = 0
    lines = lines_of(read_text(path, settings.encoding))
    delimiter, count = _columns(lines, settings.delimiter)
    for number, line in enumerate([*lines, ''], 1):
        if not line.strip(_ENDS):
            if words:
                yield Row(path, first, {WORDS: words, **({TAGS: tags} if tagged else {})})
            words, tags = [], []
            continue
        cells = _cells(line, delimiter)
        comment = line.startswith('#') and len(cells) != count
        if comment or cells[0] == _BETWEEN_DOCUMENTS:
            continue
        if len(cells) != count:
            raise UserError(f'{path} line {number}: {len(cells)} columns; expected {count}')
        if tagged and count < 2:
            raise UserError(f'{path} line {number}: one column; expected a word and its tag')
        if not words:
            first = number
        words.append(_cell(path, number, cells, settings.text_column or '0', 'text_column'))
        if tagged:
            named = settings.label_column
            last = str(count - 1) if named == DataSettings.label_column else named
            tags.append(_cell(path, number, cells, last, 'label_column'))


def _columns(lines: list[str], delimiter: str) -> tuple[str, int]:
    """(delimiter, '' for spaces; number of columns) of a file: of its first line of words.

    A line that begins with # may be a comment or a word: it is asked where there is no other.
    """
    words = [line for line in lines if line.strip(_ENDS)]
    words = [line for line in words if not line.startswith(_BETWEEN_DOCUMENTS)]
    sure = next((line for line in words if not line.startswith('#')), words[0] if words else '')
    delimiter = delimiter or ('\t' if '\t' in sure else '')
    return delimiter, len(_cells(sure, delimiter))


def _cells(line: str, delimiter: str) -> list[str]:
    parts = line.split(delimiter) if delimiter else re.split(f'[{_ENDS}]+', line.strip(_ENDS))
    return [cell.strip(_ENDS) for cell in parts]


def _cell(path: Path, number: int, cells: list[str], place: str, setting: str) -> str:
    if not place.isdecimal() or int(place) >= len(cells):
        raise UserError(
            f'{path} line {number}: data.{setting} is {place!r}; expected the place of a column, '
            f"'0' to '{len(cells) - 1}'"
        )
    return cells[int(place)]
