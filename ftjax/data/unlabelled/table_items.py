"""Inputs from the rows of a table, read line by line: CSV, TSV and JSONL."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.cells import Record, delimiter_of, refuse_joined_rows, stream_records
from ftjax.data.sources.tables.csv_file import wrong_count
from ftjax.data.sources.tables.input_columns import (
    TEXT_COLUMNS,
    input_column,
    input_of,
    inputs_of,
    pair_column,
    text_columns,
)
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.sources.text_file import LONGEST_LINE, stream_lines
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, parse_json

LINES = ('.jsonl', '.ndjson', '.json')
"""Ends of names of files with a JSON object on each line."""
MOST_BROKEN = 1000
"""Rows at the beginning of a file that may be unreadable before the file is."""


def table_items(path: Path, settings: DataSettings, texts: bool) -> Iterator[Found]:
    """The texts or image paths of a table; a row that cannot be read is left out, and said.

    Columns are found as for a run's data; there need be no label.

    Raises:
      UserError: no such column; quotes or bytes that make the rest of the file unreadable.
    """
    rows = table_rows(path, settings)
    broken: list[Unreadable] = []
    first = None
    for row in rows:
        if isinstance(row, Row):
            first = row
            break
        broken.append(row)
    if first is None:
        yield from broken
        return
    read = _reader(first, path, settings, texts)
    for row in itertools.chain(broken, [first], rows):
        if isinstance(row, Unreadable):
            yield row
            continue
        try:
            yield read(row)
        except UserError as error:
            yield Unreadable(row.id, str(error))


def _reader(first: Row, path: Path, settings: DataSettings, texts: bool) -> Callable[[Row], Item]:
    """What makes an input of a row, by the columns of the first one."""
    columns, kind = list(first.cells), 'text' if texts else 'image_file'
    label_kind = settings.label_kind
    root = resolve_path(settings.image_root) if settings.image_root else None
    if not texts:
        image = input_column(columns, settings, path, (kind,))[1]
        return lambda row: Item(row.id, input_of(row, image, kind, settings, root))
    alone = bool(settings.text_column) and label_kind.form == 'apart'
    names = () if alone else text_columns(columns, settings, path)
    if names:
        return lambda row: Item(row.id, inputs_of([row], kind, '', (), settings, names)[0])
    given = {name: getattr(settings, name) for name in ('text_column', 'text_pair_column')}
    found = dataclasses.replace(settings, **label_kind.columns_of(columns, given, asked=True))
    column = input_column(columns, found, path, (kind,))[1]
    second = ''
    if found.text_pair_column:
        second = pair_column(columns, kind, column, found, path)

    def read(row: Row) -> Item:
        value = input_of(row, column, kind, found)
        pair = (value, input_of(row, second, kind, found)) if second else value
        return Item(row.id, pair, label=label_kind.label_of(row.cells[column]))

    return read


def table_rows(path: Path, settings: DataSettings) -> Iterator[Row | Unreadable]:
    """The rows of a table one after the other.

    Raises:
      UserError: as of `table_items`; none of the first thousand rows can be read.
    """
    broken = 0
    whole = False
    rows = _objects(path, settings) if path.suffix.lower() in LINES else _rows(path, settings)
    for row in rows:
        whole = whole or isinstance(row, Row)
        if isinstance(row, Unreadable) and not whole:
            broken += 1
            if broken > MOST_BROKEN:
                raise UserError(f'{path}: {row.reason}; nor could the rows before it be read')
        yield row


def _objects(path: Path, settings: DataSettings) -> Iterator[Row | Unreadable]:
    for number, line in enumerate(stream_lines(path, settings.encoding), 1):
        if not line.strip():
            continue
        try:
            cells = parse_json(line, 'the line', LENIENT)
        except UserError as error:
            yield Unreadable(f'{path.name}:{number}', f'no JSON that can be read ({error})')
            continue
        if isinstance(cells, dict):
            yield Row(path, number, cells)
        else:
            yield Unreadable(f'{path.name}:{number}', 'is no object; expected {"text": ..}')


def _rows(path: Path, settings: DataSettings) -> Iterator[Row | Unreadable]:
    if settings.layout not in ('header', 'no_header'):
        yield from _plain(path, settings)
        return
    delimiter = settings.delimiter or (',' if path.suffix.lower() == '.csv' else '\t')
    plain = settings.quoting == 'none'
    if not settings.delimiter:
        start = next((line for line in stream_lines(path, settings.encoding) if line.strip()), '')
        delimiter = delimiter_of(start, delimiter)
    lines = stream_lines(path, settings.encoding, '\n' if plain else '')
    table = stream_records(path, lines, delimiter, settings.quoting, LONGEST_LINE)
    first = next(table, None)
    if first is None:
        return
    columns, header = [cell.strip() for cell in first.cells], settings.layout == 'header'
    if not header:
        columns = [str(place) for place in range(len(columns))]
        table = itertools.chain([first], table)
    elif len(set(columns)) < len(columns):
        raise UserError(f'{path} line 1: two columns of one name: {", ".join(columns)}')
    for record in table:
        yield _row(path, record, columns, delimiter, settings)


def _row(
    path: Path, record: Record, columns: list[str], delimiter: str, settings: DataSettings
) -> Row | Unreadable:
    cells = record.cells if settings.layout == 'header' else record.cells[: len(columns)]
    row = Row(path, record.line, dict(zip(columns, cells, strict=False)))
    try:
        if len(cells) != len(columns):
            raise UserError(wrong_count(path, record, columns, delimiter, settings))
        if settings.quoting == 'auto':
            refuse_joined_rows(path, delimiter, [record], columns, settings.label_column)
    except UserError as error:
        return Unreadable(row.id, str(error))
    return row


def _plain(path: Path, settings: DataSettings) -> Iterator[Row | Unreadable]:
    """A text on each line, or a pair parted by the first delimiter: the label is left out."""
    delimiter = settings.delimiter or (',' if path.suffix.lower() == '.csv' else '\t')
    column, second = settings.text_column or TEXT_COLUMNS[0], settings.text_pair_column
    for number, line in enumerate(stream_lines(path, settings.encoding), 1):
        text = line.removesuffix('\n').rstrip('\r')
        if not text.strip():
            continue
        if not second:
            yield Row(path, number, {column: text})
            continue
        one, found, other = text.partition(delimiter)
        if found:
            yield Row(path, number, {column: one, second: other})
        else:
            yield Unreadable(
                f'{path.name}:{number}', f'no {delimiter!r} between the two texts of a pair'
            )
