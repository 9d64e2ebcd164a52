"""CSV and TSV files: image paths or texts, and labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.columns import TEXT_COLUMNS, Row, parts_from_rows, table_files
from ftjax.data.sources.registry import Parts
from ftjax.errors import UserError

_SUFFIXES = ('.csv', '.tsv', '.txt')


def read(argument: str, settings: DataSettings) -> Parts:
    """A file, or a folder with train, val and test files.

    With data.layout `header` the first line names the columns and cells may be quoted. With
    `label_first` or `label_last` a line is a text and a label parted by the first or last
    delimiter, and quotes mean nothing; with data.text_pair_column the text is a pair, parted
    by the first delimiter in it.

    Raises:
      UserError: naming file and line of what cannot be read.
    """
    files = table_files(argument, settings, _SUFFIXES)
    rows = {split: list(_rows(path, settings)) for split, path in files.items()}
    return parts_from_rows(files, rows, settings)


def read_text(path: Path, encoding: str) -> str:
    """A whole file as text; raises UserError naming the line that the encoding does not fit."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        # A byte-order mark would otherwise become part of the first column's name.
        return data.decode('utf-8-sig' if encoding.lower() in ('utf-8', 'utf8') else encoding)
    except LookupError:
        raise UserError(f"data.encoding {encoding!r} is unknown; 'utf-8' or 'latin-1'?") from None
    except UnicodeError as error:
        start = getattr(error, 'start', 0)
        line = data.count(b'\n', 0, start) + 1
        raise UserError(
            f'{path} line {line}: byte 0x{data[start]:02x} is not {encoding}; set data.encoding '
            "(older Western files are 'latin-1')"
        ) from error


def _rows(path: Path, settings: DataSettings) -> Iterator[Row]:
    text = read_text(path, settings.encoding)
    delimiter = settings.delimiter or (',' if path.suffix.lower() == '.csv' else '\t')
    if settings.layout == 'header':
        yield from _with_header(path, text, delimiter)
    else:
        text_column = settings.text_column or TEXT_COLUMNS[0]
        columns = [settings.label_column, settings.path_column or text_column]
        if settings.text_pair_column:
            columns.append(settings.text_pair_column)
        yield from _plain(path, text, delimiter, settings.layout, columns)


def _with_header(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue  # an empty line
            if not columns:
                columns = [cell.strip() for cell in cells]
                if len(set(columns)) < len(columns):
                    raise UserError(f'{path} line 1: two columns of one name: {", ".join(columns)}')
                continue
            if len(cells) != len(columns):
                raise UserError(
                    f'{path} line {reader.line_num}: {len(cells)} cells for {len(columns)} '
                    f'columns; quote cells that hold {delimiter!r}, or set data.delimiter'
                )
            yield Row(path, reader.line_num, dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f'{path} line {reader.line_num}: {error}') from error


def _plain(path: Path, text: str, delimiter: str, layout: str, columns: list[str]) -> Iterator[Row]:
    # Only '\n' ends a line: texts may hold other characters that splitlines would break at.
    for number, line in enumerate(text.split('\n'), 1):
        line = line.rstrip('\r')
        if not line.strip():
            continue
        cut = line.partition if layout == 'label_first' else line.rpartition
        first, found, second = cut(delimiter)
        if not found:
            raise UserError(
                f'{path} line {number}: no {delimiter!r} between text and label; set '
                'data.delimiter or data.layout'
            )
        label, content = (first, second) if layout == 'label_first' else (second, first)
        cells = [label, *(content.split(delimiter, 1) if len(columns) > 2 else [content])]
        if len(cells) < len(columns):
            raise UserError(
                f'{path} line {number}: no {delimiter!r} between the two texts of a pair'
            )
        yield Row(path, number, dict(zip(columns, cells, strict=True)))
