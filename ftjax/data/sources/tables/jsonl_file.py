"""JSONL files: one JSON object a line, with a text or an image path and a label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.tables.columns import parts_from_rows, table_files
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.sources.text_file import lines_of, read_text
from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, parse_json


def read(argument: str, settings: DataSettings) -> Parts:
    """A file, or a folder with train, val and test files; columns are the objects' keys.

    Raises:
      UserError: naming file and line of what cannot be read.
    """
    files = table_files(argument, settings, ('.jsonl', '.ndjson', '.json'))
    rows = {split: list(_rows(path, settings)) for split, path in files.items()}
    return parts_from_rows(files, rows, settings)


def _rows(path: Path, settings: DataSettings) -> Iterator[Row]:
    for number, line in enumerate(lines_of(read_text(path, settings.encoding)), 1):
        if not line.strip():
            continue
        # A number that is not finite is refused where it is read, with what was expected.
        try:
            cells = parse_json(line, 'the line', LENIENT)
        except UserError as error:
            hint = f'; did you mean csv:{path}?' if path.suffix in ('.csv', '.tsv') else ''
            raise UserError(
                f'{path} line {number}: no JSON that can be read ({error}){hint}'
            ) from None
        if not isinstance(cells, dict):
            raise UserError(f'{path} line {number}: is no object; expected {{"text": .., ..}}')
        yield Row(path, number, cells)
