"""CSV and TSV files: image paths or texts, and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.tables.cells import Record, delimiter_of, records, refuse_joined_rows
from ftjax.data.sources.tables.columns import parts_from_rows, table_files
from ftjax.data.sources.tables.input_columns import TEXT_COLUMNS
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.sources.text_file import lines_of, read_text
from ftjax.errors import UserError

SUFFIXES = ('.csv', '.tsv', '.txt')
JSON_SUFFIXES = ('.jsonl', '.ndjson', '.json')


def read(argument: str, settings: DataSettings) -> Parts:
    """A file, or a folder with train, val and test files.

    With data.layout `header` the first line names the columns and cells may be quoted, as
    data.quoting says; with `no_header` columns are called by their place, '0', '1' and so on.
    With `label_first` or `label_last` a line is a text and a label parted by the first or last
    delimiter, and quotes mean nothing; with data.text_pair_column the text is a pair, parted
    by the first delimiter in it.

    Raises:
      UserError: naming file and line of what cannot be read.
    """
    files = table_files(argument, settings, SUFFIXES)
    notes: list[str] = []
    rows = {split: list(_rows(path, settings, notes)) for split, path in files.items()}
    return parts_from_rows(files, rows, settings, notes)


def _rows(path: Path, settings: DataSettings, notes: list[str]) -> Iterator[Row]:
    text = read_text(path, settings.encoding)
    if path.suffix.lower() in JSON_SUFFIXES and text.lstrip()[:1] == '{':
        raise UserError(f'{path} holds JSON lines; did you mean jsonl:{path}?')
    delimiter = settings.delimiter or (',' if path.suffix.lower() == '.csv' else '\t')
    if settings.layout in ('header', 'no_header'):
        if not settings.delimiter:
            found = delimiter_of(text, delimiter)
            if found != delimiter:
                notes.append(f'{path}: cells are parted by {found!r}')
            delimiter = found
        yield from _with_columns(path, text, delimiter, settings, notes)
    else:
        text_column = settings.text_column or TEXT_COLUMNS[0]
        columns = [settings.label_column, settings.path_column or text_column]
        if settings.text_pair_column:
            columns.append(settings.text_pair_column)
        yield from _plain(path, text, delimiter, settings.layout, columns)


def _with_columns(
    path: Path, text: str, delimiter: str, settings: DataSettings, notes: list[str]
) -> Iterator[Row]:
    table = records(path, text, delimiter, settings.quoting)
    if not table:
        return
    header = settings.layout == 'header'
    columns = [cell.strip() for cell in table[0].cells]
    if not header:
        columns = [str(place) for place in range(len(columns))]
    elif len(set(columns)) < len(columns):
        raise UserError(f'{path} line 1: two columns of one name: {", ".join(columns)}')
    if settings.quoting == 'auto':
        refuse_joined_rows(path, delimiter, table, columns, settings.label_column)
    longer = 0
    for row in table[header:]:
        longer += len(row.cells) > len(columns)
        # Beyond its columns a table without header may hold remarks: STS-B names sources there.
        cells = row.cells if header else row.cells[: len(columns)]
        if len(cells) != len(columns):
            raise UserError(wrong_count(path, row, columns, delimiter, settings))
        yield Row(path, row.line, dict(zip(columns, cells, strict=True)))
    if longer:
        notes.append(
            f'{path}: {longer:,} of {len(table):,} lines have more than {len(columns)} cells, of '
            f'which the first {len(columns)} are read'
        )


def wrong_count(
    path: Path, row: Record, columns: Sequence[str], delimiter: str, settings: DataSettings
) -> str:
    """What to say of a row that has not a cell for each column."""
    remedy = f'quote cells that hold {delimiter!r}, or set data.delimiter'
    if settings.quoting == 'none':
        remedy = "a text may hold the delimiter: set data.quoting='csv', data.delimiter, or the "
        remedy += 'data.layout label_first or label_last'
    return f'{path} line {row.line}: {len(row.cells)} cells for {len(columns)} columns; {remedy}'


def _plain(path: Path, text: str, delimiter: str, layout: str, columns: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines_of(text), 1):
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
