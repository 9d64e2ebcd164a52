"""Labels that come after the answers: accuracy by period, and whether it has fallen."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ftjax.data.sources.tables.cells import records
from ftjax.data.sources.text_file import lines_of
from ftjax.errors import UserError, did_you_mean
from ftjax.io.files.regular_files import read_bytes
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.serving.monitoring.window_file import Window

LARGEST = 2**28
FEWEST = 20
"""Labels of a period, below which its accuracy is not tested."""
_LIMITS = JsonLimits(size=2**16, depth=4, duplicates=False)


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labels of the answers of one window of time."""

    start: int
    right: int
    count: int


def read_labels(path: pathlib.Path, class_names: Sequence[str]) -> dict[str, int]:
    """{id of an answer: class} of a .csv or .jsonl file with the columns id and label.

    The id is that of the request, a slash, and the number of the input from 0: `4f1c/0`; of an id
    without a slash it is the first input.

    Raises:
      UserError: naming file and line of what cannot be read, and of an unknown class.
    """
    places = {name: number for number, name in enumerate(class_names)}
    found: dict[str, int] = {}
    for line, row in _rows(path):
        missing = [name for name in ('id', 'label') if row.get(name) in (None, '')]
        if missing:
            raise UserError(f'{path} line {line}: no {missing[0]}; expected columns id and label')
        for name in ('id', 'label'):
            if isinstance(row[name], bool) or not isinstance(row[name], str | int):
                raise UserError(f'{path} line {line}: {name} is {row[name]!r}; expected a text')
        key, label = str(row['id']).strip(), str(row['label'])
        label = label if label in places else label.strip()
        if label not in places:
            raise UserError(f'{path} line {line}: label {label!r}; {did_you_mean(label, places)}')
        key = key if '/' in key else f'{key}/0'
        if found.setdefault(key, places[label]) != places[label]:
            raise UserError(f'{path} line {line}: a second label of {key!r}, and another one')
    return found


def _rows(path: pathlib.Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    try:
        text = read_bytes(path, LARGEST).decode('utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path} cannot be read: {error}') from None
    if path.suffix.lower() in ('.jsonl', '.ndjson'):
        for line, content in enumerate(lines_of(text), 1):
            if content.strip():
                row = parse_json(content, f'{path} line {line}', _LIMITS)
                if not isinstance(row, dict):
                    raise UserError(f'{path} line {line}: expected an object with id and label')
                yield line, row
        return
    if path.suffix.lower() != '.csv':
        raise UserError(f'{path}: labels are read from .csv or .jsonl files')
    try:
        table = records(path, text, ',', 'csv')
    except csv.Error as error:
        raise UserError(f'{path} cannot be read: {error}') from None
    if not table:
        return
    columns = [cell.strip() for cell in table[0].cells]
    for name in ('id', 'label'):
        if name not in columns:
            raise UserError(f'{path}: no column {name!r}; {did_you_mean(name, columns)}')
        if columns.count(name) > 1:
            raise UserError(f'{path}: several columns are named {name!r}; expected one')
    for record in table[1:]:
        if len(record.cells) > len(columns):
            raise UserError(
                f'{path} line {record.line}: {len(record.cells)} cells for {len(columns)} columns; '
                'a comma within a cell needs quotes around it'
            )
        yield record.line, dict(zip(columns, record.cells, strict=False))


def labelled_periods(
    windows: Sequence[tuple[str, Window]], labels: Mapping[str, int]
) -> tuple[list[Labelled], int]:
    """Right answers and labels by time, and how many labels belong to no answer of a sample.

    An id that two answers have is left out: nobody knows which was meant.
    """
    answers: dict[str, tuple[int, int] | None] = {}
    for _, window in windows:
        for id, answer in zip(window.ids, window.rows.answers.tolist(), strict=True):
            answers[id] = None if id in answers else (window.start, answer)
    sums: dict[int, list[int]] = {}
    used = 0
    for id, label in labels.items():
        known = answers.get(id)
        if known is not None:
            start, answer = known
            row = sums.setdefault(start, [0, 0])
            row[0] += answer == label
            row[1] += 1
            used += 1
    found = [Labelled(start, *sums[start]) for start in sorted(sums)]
    return found, len(labels) - used


def fallen(new: Labelled, right: int, count: int, random: np.random.Generator) -> float | None:
    """The p of as many errors among new labels, if all are exchangeable; None for too few.

    Fisher's exact test, one-sided: given all errors, how many fall on the new labels is
    hypergeometric. Ties are broken at random, which makes p uniform.

    Args:
      new: labels of one time.
      right, count: right answers and labels before.
      random: for ties.
    """
    from scipy import stats

    if min(new.count, count) < FEWEST:
        return None
    wrong, errors = new.count - new.right, new.count - new.right + count - right
    law = (new.count + count, errors, new.count)
    tied = float(stats.hypergeom.pmf(wrong, *law))
    p = float(stats.hypergeom.sf(wrong, *law)) + float(random.random()) * tied
    return min(max(p, 1e-12), 1.0)
