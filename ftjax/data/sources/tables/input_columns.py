"""Which columns of a table hold inputs, and what a row holds there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ftjax.data.labels import LabelKind
from ftjax.data.labels.choices import filled_up
from ftjax.data.missing import is_missing
from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.missing_cells import Column
from ftjax.data.sources.tables.table_columns import table_of
from ftjax.data.sources.tables.table_row import Row, cell
from ftjax.data.user_paths import inside, resolve_path
from ftjax.errors import UserError, did_you_mean

TEXT_COLUMNS = LabelKind.text_columns
PATH_COLUMNS = ('path', 'image', 'file', 'filename', 'image_path')


def inputs_of(
    rows: Sequence[Row],
    kind: str,
    column: str,
    features: Sequence[Column],
    settings: DataSettings,
    texts: Sequence[str] = (),
) -> Any:
    """What the rows hold: a Table, or a list of texts, of several texts or of paths.

    `texts` are the columns of several texts that go through the network each by itself.
    """
    if kind == 'table':
        return table_of(rows, features)
    root = resolve_path(settings.image_root) if settings.image_root else None
    if texts:
        each = [tuple(_texts_of(row, texts, settings)) for row in rows]
        if settings.label_kind.fills_up:
            return filled_up(each)
        for row, found in zip(rows, each, strict=True):
            if len(found) != len(each[0]):
                raise UserError(
                    f'{row.where}: {len(found)} texts, and {len(each[0])} in {rows[0].where}; '
                    f'data.task {settings.task} takes as many throughout'
                )
        return each
    first = [input_of(row, column, kind, settings, root) for row in rows]
    if not settings.text_pair_column:
        return first
    second = [input_of(row, settings.text_pair_column, kind, settings) for row in rows]
    return list(zip(first, second, strict=True))


def _texts_of(row: Row, names: Sequence[str], settings: DataSettings) -> Iterator[str]:
    """The texts of some columns; where a cell is a list, all that it holds.

    Empty cells of the last columns are no texts, where examples may have fewer than others.
    """
    if settings.label_kind.fills_up:
        names = [*names]
        while len(names) > 3 and is_missing(cell(row, names[-1])):
            names.pop()
    first = settings.label_kind.lists_from
    for place, name in enumerate(names):
        value = cell(row, name)
        if not isinstance(value, list):
            yield input_of(row, name, 'text', settings)
            continue
        if first is None or place < first:
            raise UserError(
                f'{row.where}: {name!r} holds a list; data.task {settings.task} takes one text '
                'there: write a row for each'
            )
        for text in value:
            if not isinstance(text, str) or not text.strip():
                raise UserError(f'{row.where}: {name!r} holds {text!r}; expected texts')
            yield text


def need(columns: Sequence[str], name: str, setting: str, source: Path) -> None:
    """UserError unless a column that a setting names is there."""
    if name not in columns:
        near = did_you_mean(name, columns)
        if near.startswith('known'):  # nothing alike: which of them is it?
            near = f'name one of its columns, data.{setting}=..; {near}'
        raise UserError(f'{source}: no column {name!r} (data.{setting}); {near}')


def text_columns(columns: Sequence[str], settings: DataSettings, source: Path) -> tuple[str, ...]:
    """The columns whose texts go through the network each by itself; () for none.

    Raises:
      UserError: one that the settings name, or that the task needs, is not there.
    """
    try:
        names = settings.label_kind.texts_of(columns, settings.text_columns)
    except UserError as error:
        raise UserError(f'{source}: {error}') from None
    for name in names:
        need(columns, name, 'text_columns', source)
    return names


def input_column(
    columns: Sequence[str],
    settings: DataSettings,
    source: Path,
    kinds: Collection[str] = ('text', 'image_file'),
) -> tuple[str, str]:
    """(kind of the inputs, their column), of the kinds that are wanted.

    Raises:
      UserError: no such column, or several.
    """
    if len(kinds) > 1 and settings.text_column and settings.path_column:
        raise UserError('data.text_column and data.path_column are both set; expected one')
    for kind, setting in (('text', 'text_column'), ('image_file', 'path_column')):
        name = getattr(settings, setting)
        if name and kind in kinds:
            need(columns, name, setting, source)
            return kind, name
    texts = settings.label_kind.text_columns
    own = [name for name in texts if name in columns and name not in TEXT_COLUMNS]
    known = [('text', name) for name in own[:1] or texts]
    known += [('image_file', name) for name in PATH_COLUMNS]
    found = [(kind, name) for kind, name in known if name in columns and kind in kinds]
    if len(found) != 1:
        usual = [settings.label_kind.usual_columns] if 'text' in kinds else []
        usual += [' or '.join(PATH_COLUMNS[:2])] if 'image_file' in kinds else []
        none = f'none of the usual columns ({", or ".join(usual)})'
        both = ' and '.join(name for _, name in found) or none
        keys = {'text': 'data.text_column', 'image_file': 'data.path_column'}
        if settings.label_kind.second_text:
            keys['text'] += (
                f' (with data.text_pair_column for the {settings.label_kind.second_text})'
            )
        wanted = ' or '.join(key for kind, key in keys.items() if kind in kinds)
        raise UserError(f'{source}: has {both}; set {wanted} to one of: ' + ', '.join(columns))
    return found[0]


def pair_column(
    columns: Sequence[str], kind: str, first: str, settings: DataSettings, source: Path
) -> str:
    """The column of the second text of a pair; UserError unless it can be."""
    second = settings.text_pair_column
    need(columns, second, 'text_pair_column', source)
    if kind != 'text' or first == second:
        raise UserError(
            f'{source}: data.text_pair_column {second!r} is the second of two texts; expected '
            f'another column as data.text_column, not {first!r}'
        )
    return second


def input_of(
    row: Row, column: str, kind: str, settings: DataSettings, root: Path | None = None
) -> str:
    """The text of a row, or the path of its image, which lies in `root` or beside the table.

    Raises:
      UserError: an empty cell, a path that leads elsewhere, no such file.
    """
    value = cell(row, column)
    if kind == 'text':
        value = settings.label_kind.as_text(value, row.where, settings.units)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{row.where}: {column!r} is {value!r}; expected a text')
    if kind == 'text':
        return value
    folder = root or row.file.parent
    path = inside(folder, value, row.where)
    if not path.is_file() and '\\' in value:  # written on Windows
        path = inside(folder, value.replace('\\', '/'), row.where)
    if not path.is_file():
        raise UserError(
            f'{row.where}: no image {path}; paths are relative to {folder}, and data.image_root '
            'says another folder'
        )
    return str(path)
