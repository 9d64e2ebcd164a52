"""Rows of a table (CSV or JSONL) to examples: which column means what, and its checks."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.missing import is_missing
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.split_names import SPLIT_NAMES
from ftjax.data.sources.tables.input_columns import (
    input_column,
    inputs_of,
    need,
    pair_column,
    text_columns,
)
from ftjax.data.sources.tables.missing_cells import Column, whole_rows
from ftjax.data.sources.tables.table_columns import feature_columns
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.sources.tables.table_row import cell as _cell
from ftjax.data.user_paths import existing_file, existing_folder, inside, resolve_path
from ftjax.errors import UserError, check_name

GROUP_COLUMN = re.compile(
    r'(?:(?:patient|subject|participant|person|speaker|user|author|writer|group|case|study|series|'
    r'session|site|family|animal|individual|donor|slide|video|film|clip|scene|document|doc)'
    r'(?:[ _-]?(?:id|no|nr|number|name|code))?)',
    re.IGNORECASE,
)
"""Names of columns that say what an example belongs to."""


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
    if len({path.name for path in files.values()}) < len({*files.values()}):
        root = os.path.commonpath([path.parent for path in files.values()])
        rows = {split: [_below(row, root) for row in own] for split, own in rows.items()}
    first = next(iter(rows))
    columns = list(rows[first][0].cells)
    source = files[first]
    label_kind = settings.label_kind
    labelled = not label_kind.from_inputs
    texts = text_columns(columns, settings, source)
    given = {name: getattr(settings, name) for name in ('text_column', 'text_pair_column')}
    settings = dataclasses.replace(settings, **label_kind.columns_of(columns, given))
    if labelled:
        others = [name for name in label_kind.label_columns if name in columns]
        usual = settings.label_column == DataSettings.label_column not in columns
        if usual and others:
            settings = dataclasses.replace(settings, label_column=others[0])
        labelled = not (usual and label_kind.label_is_optional)
        if labelled:
            need(columns, settings.label_column, 'label_column', source)
    kind, column = ('text', texts[0]) if texts else ('table', '')
    if not texts and not settings.features:
        kind, column = input_column(columns, settings, source)
    if settings.split_column:
        need(columns, settings.split_column, 'split_column', source)
        rows = _by_split_column(rows, settings)
    if settings.group_column:
        need(columns, settings.group_column, 'group_column', source)
    for name in settings.slices:
        need(columns, name, 'slices', source)
    features: list[Column] = []
    notes, used = [*notes], [Column(column, {'image_file': 'path'}.get(kind, kind))]
    if kind == 'table':
        label = settings.label_column if labelled else ''
        taken = [label, settings.split_column, settings.group_column]
        used = feature_columns(columns, taken, [r for own in rows.values() for r in own], settings)
        features = [*used]
    needed = 3 if label_kind.fills_up else len(texts)  # the last of more may be empty
    used += [Column(name, 'text') for name in texts[1:needed]]
    if settings.text_pair_column and kind != 'table' and not texts:
        second = pair_column(columns, kind, column, settings, source)
        used.append(Column(second, 'text'))
    if labelled:
        used.append(Column(settings.label_column, 'label', label_kind.is_missing))
    rows, unlabelled = whole_rows(rows, used, settings, notes)
    for split, path in files.items():
        if not rows.get(split) and not settings.split_column:
            raise UserError(f'{path}: no examples are left, all have missing values')
    every = [(split, row) for split in rows for row in rows[split]]
    # What is made from the inputs is told which they are; a label that is not there is None.
    seen = settings.label_column if labelled else column if label_kind.from_inputs else ''
    raw = [_cell(row, seen) if labelled else row.cells.get(seen) for _, row in every]
    labels, names = label_kind.read(
        raw, lambda i: every[i][1].where, settings.class_names, settings.label_separator
    )
    inputs = inputs_of([row for _, row in every], kind, column, features, settings, texts)
    labels = label_kind.of_inputs(inputs, labels, lambda i: every[i][1].where)
    every += [('unlabelled', row) for row in unlabelled]
    # Of rows without a label the labels are placeholders.
    labels = np.concatenate([labels, np.zeros((len(unlabelled), *labels.shape[1:]), labels.dtype)])
    if unlabelled:
        inputs = inputs_of([row for _, row in every], kind, column, features, settings, texts)
    pair = settings.text_pair_column
    known = (column, *texts, settings.label_column, pair, settings.split_column)
    group_columns = _group_columns(columns, known, [row for _, row in every])
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
            groups=[_told(_cell(every[i][1], settings.group_column)) for i in mine]
            if settings.group_column
            else (),
        )
    return Parts(
        train=made.get('train'),
        val=made.get('val'),
        test=made.get('test'),
        unlabelled=made.get('unlabelled'),
        notes=tuple(notes),
        group_columns={
            name: {row.id: _told(row.cells.get(name)) for _, row in every} for name in group_columns
        },
        slices={
            name: {row.id: _told(row.cells.get(name)) for _, row in every}
            for name in settings.slices
        },
        no_train=f'{source}: no row is of split train'
        if settings.split_column
        else f'{source.parent}: no train file there to train on; name it by data.train_file',
    )


def _below(row: Row, root: str) -> Row:
    """With an id that says the folder: files of one name in two folders have ids of their own."""
    return dataclasses.replace(row, short=row.file.relative_to(root).as_posix())


def _told(value: object) -> str:
    """A cell as text, '' for a missing one; 3.0 as 3, since a gap makes numbers of a frame floats.

    >>> _told(float('nan')), _told(3.0), _told(2.5), _told(' a ')
    ('', '3', '2.5', 'a')
    """
    if is_missing(value):
        return ''
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _group_columns(
    columns: Sequence[str], used: Sequence[str], rows: Sequence[Row]
) -> tuple[str, ...]:
    """The columns that seem to say what an example belongs to."""
    named = [n for n in columns if n not in used and GROUP_COLUMN.fullmatch(n.strip())]
    values = {name: {_told(row.cells.get(name)) for row in rows} for name in named}
    return tuple(name for name in named if 1 < len(values[name]) < len(rows))


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
