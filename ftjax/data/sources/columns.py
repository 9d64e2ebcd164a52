"""Rows of a table (CSV or JSONL) to examples: which column means what, and its checks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.labels import LabelKind
from ftjax.data.settings import DataSettings
from ftjax.data.sources.missing_cells import Column, whole_rows
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.split_names import SPLIT_NAMES
from ftjax.data.sources.table_columns import feature_columns, table_of
from ftjax.data.sources.table_row import Row
from ftjax.data.sources.table_row import cell as _cell
from ftjax.data.user_paths import existing_file, existing_folder, inside, resolve_path
from ftjax.errors import UserError, check_name, did_you_mean

TEXT_COLUMNS = LabelKind.text_columns
GROUP_COLUMN = re.compile(
    r'(?:(?:patient|subject|participant|person|speaker|user|author|writer|group|case|study|series|'
    r'session|site|family|animal|individual|donor|slide|video|film|clip|scene|document|doc)'
    r'(?:[ _-]?(?:id|no|nr|number|name|code))?)',
    re.IGNORECASE,
)
"""Names of columns that say what an example belongs to."""
PATH_COLUMNS = ('path', 'image', 'file', 'filename', 'image_path')


def table_files(argument: str, settings: DataSettings, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of each split: one file is all training; in a folder, train.*, val.*, test.*.

    With data.train_file the folder's files are those that the settings name.

    Raises:
      UserError: if there is none, none called train, or two for one split.
    """
    what = f'data.source {settings.source}'
    named = {split: getattr(settings, f'{split}_file') for split in ('train', 'val', 'test')}
    if not resolve_path(argument, 'data.source').is_dir():
        path = existing_file(argument, what)
        if settings.train_file:
            raise UserError(f'{what} is a file; data.train_file needs the folder it lies in')
        return {'train': path}
    folder = existing_folder(argument, what)
    if settings.train_file:
        return {
            split: existing_file(str(inside(folder, name, f'data.{split}_file')), what)
            for split, name in named.items()
            if name
        }
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLIT_NAMES.get(path.stem.lower())
        if split and path.suffix.lower() in suffixes and path.is_file():
            if split in found:
                raise UserError(f'{folder}: {found[split].name} and {path.name} both are {split}')
            found[split] = path
    if not found:
        raise UserError(
            f'{folder}: no train{suffixes[0]} there; name the file itself, or data.train_file'
        )
    return found


def parts_from_rows(
    files: Mapping[str, Path],
    rows: dict[str, list[Row]],
    settings: DataSettings,
    notes: Sequence[str] = (),
) -> Parts:
    """Data sets from rows by split; the classes are those of all splits together.

    Raises:
      UserError: naming the line of what does not fit.
    """
    for split, path in files.items():
        if not rows[split]:
            raise UserError(f'{path}: no examples')
    first = next(iter(rows))
    columns = list(rows[first][0].cells)
    source = files[first]
    label_kind = settings.label_kind
    labelled = not label_kind.from_inputs
    given = {name: getattr(settings, name) for name in ('text_column', 'text_pair_column')}
    settings = dataclasses.replace(settings, **label_kind.columns_of(columns, given))
    if labelled:
        others = [name for name in label_kind.label_columns if name in columns]
        if settings.label_column == DataSettings.label_column not in columns and others:
            settings = dataclasses.replace(settings, label_column=others[0])
        _need(columns, settings.label_column, 'label_column', source)
    kind, column = ('table', '') if settings.features else input_column(columns, settings, source)
    if settings.split_column:
        _need(columns, settings.split_column, 'split_column', source)
        rows = _by_split_column(rows, settings)
    if settings.group_column:
        _need(columns, settings.group_column, 'group_column', source)
    for name in settings.slices:
        _need(columns, name, 'slices', source)
    features: list[Column] = []
    notes, used = [*notes], [Column(column, {'image_file': 'path'}.get(kind, kind))]
    if kind == 'table':
        label = settings.label_column if labelled else ''
        taken = [label, settings.split_column, settings.group_column]
        used = feature_columns(columns, taken, [r for own in rows.values() for r in own], settings)
        features = [*used]
    if settings.text_pair_column and kind != 'table':
        second = pair_column(columns, kind, column, settings, source)
        used.append(Column(second, 'text'))
    if labelled:
        used.append(Column(settings.label_column, 'label', label_kind.is_missing))
    rows, unlabelled = whole_rows(rows, used, settings, notes)
    for split, path in files.items():
        if not rows.get(split) and not settings.split_column:
            raise UserError(f'{path}: no examples are left, all have missing values')
    every = [(split, row) for split in rows for row in rows[split]]
    raw = [
        _cell(row, settings.label_column) if labelled else row.cells.get(column) for _, row in every
    ]
    labels, names = label_kind.read(
        raw, lambda i: every[i][1].where, settings.class_names, settings.label_separator
    )
    inputs = _inputs([row for _, row in every], kind, column, features, settings)
    label_kind.check_inputs(inputs, labels, lambda i: every[i][1].where)
    every += [('unlabelled', row) for row in unlabelled]
    # Of rows without a label the labels are placeholders.
    labels = np.concatenate([labels, np.zeros((len(unlabelled), *labels.shape[1:]), labels.dtype)])
    if unlabelled:
        inputs = _inputs([row for _, row in every], kind, column, features, settings)
    known = (column, settings.label_column, settings.text_pair_column, settings.split_column)
    group_column = _group_column(columns, known, [row for _, row in every])
    made: dict[str, Dataset] = {}
    for split in (*rows, *(['unlabelled'] if unlabelled else [])):
        mine = [i for i, (of, _) in enumerate(every) if of == split]
        made[split] = Dataset(
            name=f'{source.name if len(files) == 1 else source.parent.name} {split}',
            kind=kind,
            inputs=inputs[np.array(mine, int)] if kind == 'table' else [inputs[i] for i in mine],
            labels=labels[mine],
            class_names=names,
            task=settings.task,
            ids=[every[i][1].id for i in mine],
            channels=settings.channels if kind == 'image_file' else None,
            groups=[_group(every[i][1], settings.group_column) for i in mine]
            if settings.group_column
            else (),
        )
    return Parts(
        train=made.get('train'),
        val=made.get('val'),
        test=made.get('test'),
        unlabelled=made.get('unlabelled'),
        notes=tuple(notes),
        groups={row.id: str(row.cells.get(group_column, '')) for _, row in every}
        if group_column
        else {},
        group_column=group_column,
        slices={
            name: {row.id: str(row.cells.get(name, '')) for _, row in every}
            for name in settings.slices
        },
        no_train=f'{source}: no row is of split train'
        if settings.split_column
        else f'{source.parent}: no train file there to train on; name it by data.train_file',
    )


def _inputs(
    rows: Sequence[Row],
    kind: str,
    column: str,
    features: Sequence[Column],
    settings: DataSettings,
) -> Any:
    """What the rows hold: a Table, or a list of texts, of pairs of texts or of paths."""
    if kind == 'table':
        return table_of(rows, features)
    root = resolve_path(settings.image_root) if settings.image_root else None
    first = [input_of(row, column, kind, settings, root) for row in rows]
    if not settings.text_pair_column:
        return first
    second = [input_of(row, settings.text_pair_column, kind, settings) for row in rows]
    return list(zip(first, second, strict=True))


def _group_column(columns: Sequence[str], used: Sequence[str], rows: Sequence[Row]) -> str:
    """The column that seems to say what an example belongs to; '' for none."""
    for name in columns:
        if name not in used and GROUP_COLUMN.fullmatch(name.strip()):
            values = {str(row.cells.get(name, '')) for row in rows}
            if 1 < len(values) < len(rows):
                return name
    return ''


def _group(row: Row, column: str) -> str:
    value = _cell(row, column)
    return '' if value is None else str(value).strip()


def _need(columns: Sequence[str], name: str, setting: str, source: Path) -> None:
    if name not in columns:
        near = did_you_mean(name, columns)
        raise UserError(f'{source}: no column {name!r} (data.{setting}); {near}')


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
            _need(columns, name, setting, source)
            return kind, name
    texts = settings.label_kind.text_columns
    own = [name for name in texts if name in columns and name not in TEXT_COLUMNS]
    known = [('text', name) for name in own[:1] or texts]
    known += [('image_file', name) for name in PATH_COLUMNS]
    found = [(kind, name) for kind, name in known if name in columns and kind in kinds]
    if len(found) != 1:
        both = ' and '.join(name for _, name in found) or 'none of the usual columns'
        raise UserError(
            f'{source}: has {both}; set data.text_column or data.path_column to one of: '
            + ', '.join(columns)
        )
    return found[0]


def pair_column(
    columns: Sequence[str], kind: str, first: str, settings: DataSettings, source: Path
) -> str:
    """The column of the second text of a pair; UserError unless it can be."""
    second = settings.text_pair_column
    _need(columns, second, 'text_pair_column', source)
    if kind != 'text' or first == second:
        raise UserError(
            f'{source}: data.text_pair_column {second!r} is the second of two texts; expected '
            f'another column as data.text_column, not {first!r}'
        )
    return second


def _by_split_column(rows: dict[str, list[Row]], settings: DataSettings) -> dict[str, list[Row]]:
    if len(rows) > 1:
        raise UserError('data.split_column is set and the folder has a file per split; unset it')
    parted: dict[str, list[Row]] = {'train': []}
    for row in rows['train']:
        name = str(_cell(row, settings.split_column)).strip().lower()
        if name not in SPLIT_NAMES:
            check_name(name, SPLIT_NAMES, f'{row.where}: split')
        parted.setdefault(SPLIT_NAMES[name], []).append(row)
    return {split: found for split, found in parted.items() if found}


def input_of(
    row: Row, column: str, kind: str, settings: DataSettings, root: Path | None = None
) -> str:
    """The text of a row, or the path of its image, which lies in `root` or beside the table.

    `text_of` is `(value, where) -> text`, for values that are more than one.

    Raises:
      UserError: an empty cell, a path that leads elsewhere, no such file.
    """
    value = _cell(row, column)
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
