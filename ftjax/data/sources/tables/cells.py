"""Lines of a table to cells: delimiters, and quotes that mean something or nothing."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ftjax.data.sources.text_file import lines_of
from ftjax.errors import UserError

DELIMITERS = (',', '\t', ';', '|')
_LITERAL = "if quotes are part of the texts set data.quoting='none'"


@dataclasses.dataclass(frozen=True)
class Record:
    """The cells of a row, which may be of several lines."""

    first: int
    """Its first line, from 1."""
    line: int
    """Its last line."""
    cells: list[str]
    lines: tuple[str, ...] = ()
    """As they stand in the file, of a row of several lines."""


def records(path: Path, text: str, delimiter: str, quoting: str) -> list[Record]:
    """The rows of a table, empty lines left out.

    Raises:
      UserError: naming the line where quotes are not those of a CSV file.
    """
    lines = lines_of(text) if quoting == 'none' else io.StringIO(text, newline='')
    return list(stream_records(path, lines, delimiter, quoting, len(text) + 1))


def stream_records(
    path: Path, lines: Iterable[str], delimiter: str, quoting: str, longest: int
) -> Iterator[Record]:
    """As `records`, from the lines of a file; no cell has more than `longest` characters."""
    if quoting == 'none':
        for number, line in enumerate(lines, 1):
            if line.strip():
                cells = line.removesuffix('\n').rstrip('\r').split(delimiter)
                yield Record(number, number, cells)
        return
    own: list[str] = []  # lines of the present row

    def noted() -> Iterator[str]:
        for line in lines:
            own.append(line)
            yield line

    reader, before = csv.reader(noted(), delimiter=delimiter, strict=True), 0
    with _cells_of(longest):
        try:
            for cells in reader:
                if cells:
                    several = tuple(own) if reader.line_num > before + 1 else ()
                    yield Record(before + 1, reader.line_num, cells, several)
                before = reader.line_num
                own.clear()
        except csv.Error as error:
            raise UserError(
                f'{path} line {before + 1}: {error}; a quote opens a cell there: {_LITERAL}'
            ) from error


def refuse_joined_rows(
    path: Path, delimiter: str, table: Sequence[Record], columns: Sequence[str], label: str
) -> None:
    """UserError for a row of several lines each of which could be a row of its own.

    A lone quote at the start of a text opens a cell that ends at the next lone quote: the rows
    between would be one text, and lost in silence. Lines of a text that is quoted rightly have
    not, each of them, the right number of cells and a label that other rows have too.
    """
    if len(columns) < 2:
        return
    at = columns.index(label) if label in columns else None
    known = {row.cells[at] for row in table if row.first == row.line and at is not None}
    for row in table:
        if row.first == row.line:
            continue
        apart = [line.rstrip('\r\n').split(delimiter) for line in row.lines]
        if any(len(cells) != len(columns) for cells in apart):
            continue
        if at is not None and known and not all(cells[at] in known for cells in apart):
            continue
        raise UserError(
            f'{path} lines {row.first} to {row.line}: one row whose text is quoted, or '
            f"{len(apart)} rows with a lone quote? {_LITERAL}, else data.quoting='csv'"
        )


def delimiter_of(text: str, default: str) -> str:
    """The delimiter of a table whose first line the default does not part; else the default.

    >>> delimiter_of('text;label', ','), delimiter_of('text', ','), delimiter_of('a,b;c', ',')
    (';', ',', ',')
    """
    first = next((line for line in lines_of(text) if line.strip()), '')
    if default in first:
        return default
    counts = {delimiter: first.count(delimiter) for delimiter in DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else default


@contextlib.contextmanager
def _cells_of(characters: int) -> Iterator[None]:
    """Cells of any length: the library's own limit is 131,072 characters, for the process."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, characters))
    try:
        yield
    finally:
        csv.field_size_limit(before)
