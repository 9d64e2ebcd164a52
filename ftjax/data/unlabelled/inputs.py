"""Inputs from a folder, a file or an archive, by what the path ends in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.conll_file import WORDS, sentences
from ftjax.data.sources.folders.image_tree import is_image, readable, stream_image_files
from ftjax.data.sources.tables.csv_file import SUFFIXES as TABLES
from ftjax.data.unlabelled.array_items import array_count, array_items
from ftjax.data.unlabelled.feature_items import feature_items
from ftjax.data.unlabelled.items import Found, Item
from ftjax.data.unlabelled.table_items import LINES, table_items, table_rows
from ftjax.data.user_paths import existing_file, resolve_path
from ftjax.errors import UserError
from ftjax.preprocessing.table_features import TablePreprocessing

TAGGED = ('.conll', '.bio', '.iob', '.iob2')
"""Ends of names of files with a word on each line."""


def read_inputs(
    source: str, settings: DataSettings, texts: bool, table: TablePreprocessing | None = None
) -> Iterator[Found]:
    """Inputs in the order of the source, never all of them at once.

    Args:
      source: a folder of images, an image, a .csv, .tsv, .txt, .jsonl or .npz file.
      settings: columns, delimiter, encoding and so on, as of a run's data.
      texts: whether the network takes texts; else images.
      table: of a network that takes rows of a table.

    Raises:
      UserError: no such file, no input in it, or one of another kind.
    """
    found = (
        _rows(source, settings, table) if table is not None else _reader(source, settings, texts)
    )
    first = next(found, None)
    if first is None:
        held = 'row' if table is not None else 'text' if texts else 'image'
        raise UserError(f'{source}: holds no {held}')
    return itertools.chain([first], found)


def count_inputs(source: str) -> int:
    """About how many inputs there are, for a progress line: lines of a table, images, rows."""
    path = resolve_path(source, 'the input')
    if path.is_dir():
        return sum(1 for _ in stream_image_files(path))
    if path.suffix.lower() == '.npz':
        return array_count(path)
    if path.suffix.lower() not in (*TABLES, *LINES, *TAGGED):
        return 1
    count, last = 0, b'\n'
    with open(existing_file(source, 'the input'), 'rb') as file:
        for block in iter(lambda: file.read(2**20), b''):
            count, last = count + block.count(b'\n'), block[-1:]
    return count + (last != b'\n')  # the last line may have no end


def _reader(source: str, settings: DataSettings, texts: bool) -> Iterator[Found]:
    what, path = 'the input', resolve_path(source, 'the input')
    if path.is_dir():
        if texts:
            raise UserError(
                f'{source} is a folder, and the network takes texts; expected a .csv, .jsonl or '
                '.npz file'
            )
        return _images(path)
    path = existing_file(source, what)
    suffix = path.suffix.lower()
    if suffix == '.npz':
        return array_items(path, texts)
    if suffix in (*TABLES, *LINES):
        return table_items(path, settings, texts)
    if suffix in TAGGED and texts and settings.label_kind.form == 'words':
        return word_items(path, settings)
    if is_image(path.name) and not texts:
        return iter([Item(readable(path.name), str(path))])
    kinds = 'a .csv, .jsonl or .npz file' if texts else 'a folder, an image, .csv, .jsonl or .npz'
    raise UserError(f'{source} does not say how to read it; expected {kinds}')


def _rows(source: str, settings: DataSettings, table: TablePreprocessing) -> Iterator[Found]:
    path = resolve_path(source, 'the input')
    kinds = 'a .csv, .tsv, .txt or .jsonl file with a column for each feature'
    if path.is_dir():
        raise UserError(f'{source} is a folder, and the network takes a table; expected {kinds}')
    path = existing_file(source, 'the input')
    if path.suffix.lower() not in (*TABLES, *LINES):
        raise UserError(f'{source}: the network takes rows of a table; expected {kinds}')
    return feature_items(table_rows(path, settings), table)


def word_items(path: Path, settings: DataSettings) -> Iterator[Found]:
    """The sentences of a CoNLL file; its tags, if it has any, are left out."""
    for row in sentences(path, settings, tagged=False):
        yield Item(row.id, settings.label_kind.as_text(row.cells[WORDS], row.where, settings.units))


def _images(folder: Path) -> Iterator[Item]:
    for path in stream_image_files(folder):
        yield Item(readable(Path(path).relative_to(folder).as_posix()), path)
