"""Examples that a cleaned index leaves out or labels anew: `data.exclude`, written by the audit.

The file is a CSV with the columns split, id, action and label; others are for people. `split` is
that of the source (train for all where the source has no splits), `action` is drop, relabel, keep
or review; the last two change nothing. Ids and labels may be written as a spreadsheet takes them
for text (`'=a.jpg`): so the audit writes them.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.user_paths import existing_file
from ftjax.errors import UserError, check_name, did_you_mean
from ftjax.printable import in_spreadsheet

COLUMNS = ('split', 'id', 'action', 'label')
ACTIONS = ('drop', 'relabel', 'review', 'keep')


def excluded(parts: Mapping[str, Dataset], file: str) -> tuple[dict[str, Dataset], str]:
    """The splits of a source after a cleaned index, and a sentence on what it changed.

    Raises:
      UserError: the file is no such index, an example of it is not in the data, or a label is no
        class of theirs.
    """
    path = existing_file(file, 'data.exclude')
    made, dropped, relabelled = dict(parts), 0, 0
    for name, every in index_rows(path, parts).items():
        rows = [(line, row) for line, row in every if row['action'] in ('drop', 'relabel')]
        if not rows:
            continue
        part = made[name]
        where = _written(part.ids)
        keep, labels = np.ones(len(part), bool), np.array(part.labels)
        for line, row in rows:
            if row['id'] not in where:
                near = did_you_mean(row['id'], where)
                raise UserError(f'{path} line {line}: {part.name} has no {row["id"]!r}; {near}')
            at = where[row['id']]
            if at is None:
                raise UserError(
                    f'{path} line {line}: {row["id"]!r} stands for two examples of {part.name}, '
                    'whose names differ in signs that a table does not hold; rename one'
                )
            if row['action'] == 'drop':
                keep[at] = False
            elif row['action'] == 'relabel':
                labels[at] = _label(part, row['label'], f'{path} line {line}')
                relabelled += 1
        dropped += int((~keep).sum())
        made[name] = dataclasses.replace(part, labels=labels).take(np.flatnonzero(keep))
    total = sum(map(len, parts.values()))
    note = f'{path}: {dropped:,} of {total:,} examples are left out, {relabelled:,} relabelled'
    return made, note


def index_rows(path: Path, splits: Iterable[str]) -> dict[str, list[tuple[int, Mapping[str, str]]]]:
    """{split: (line, cells) of each row}; see `excluded`."""
    found: dict[str, list[tuple[int, Mapping[str, str]]]] = {}
    with path.open(encoding='utf-8-sig', newline='') as file:
        table = csv.DictReader(file, strict=True)
        try:
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(
                    f'{path}: no column {missing[0]!r}; data.exclude takes what '
                    'scripts/audit.py --fix writes'
                )
            for row in table:
                where = f'{path} line {table.line_num}'
                if None in row.values() or None in row:
                    raise UserError(f'{where}: cut short, or with too many cells')
                check_name(row['action'], ACTIONS, f'{where}: action')
                check_name(row['split'], list(splits), f'{where}: split')
                found.setdefault(row['split'], []).append((table.line_num, row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f'{path}: no CSV that can be read ({error})') from None
    return found


def _label(part: Dataset, label: str, where: str) -> int:
    if not part.label_kind.one_class:
        raise UserError(f'{where}: relabel needs one class an example, not task {part.task}')
    at = _written(part.class_names).get(label)
    if at is None:
        raise UserError(f'{where}: no class {label!r}; {did_you_mean(label, part.class_names)}')
    return at


def _written(names: Iterable[object]) -> dict[str, int | None]:
    """Positions by name, as it is and as `in_spreadsheet` writes it; None where two share one.

    >>> _written(['a', '=b', "'=b"])
    {'a': 0, '=b': 1, "'=b": None}
    """
    found: dict[str, int | None] = {}
    of: dict[str, str] = {}
    for position, name in enumerate(map(str, names)):
        for form in dict.fromkeys((name, in_spreadsheet(name))):
            if of.setdefault(form, name) != name:
                found[form] = None
            else:
                found.setdefault(form, position)
    return found
