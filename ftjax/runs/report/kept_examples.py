"""What a run keeps of its test examples, so that its report can be made again from its folder.

`test_examples.npz` holds a row an example: what the task counts of it, and the columns that scores
are told apart by. `report.json` holds what is said of the data, the baselines, and the worst
mistakes with their pictures or texts.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data import Dataset, Splits
from ftjax.data.audit.examples import NAMES
from ftjax.data.audit.quick import quick_audit
from ftjax.errors import UserError
from ftjax.evaluation.slices import measured
from ftjax.io.files.atomic import read_json, write_bytes, write_json
from ftjax.io.files.npz_archive import NpzArchive
from ftjax.io.json.stored_fields import check_fields_of
from ftjax.runs.prepare import Prepared
from ftjax.runs.report.shown_inputs import InputPictures, input_sizes
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics
from ftjax.training.loop.fit_result import FitResult

ROWS, ABOUT = 'test_examples.npz', 'report.json'
LARGEST = 32 * 2**20
"""Bytes of one array that is kept; of more outputs than that the report shows no figure."""
MISTAKES = 20
"""The worst answers that are shown."""
_FIELDS = {'task': str, 'splits': dict, 'baselines': list, 'mistakes': list, 'columns': list}


@dataclasses.dataclass(frozen=True)
class KeptExamples:
    """Of a run: the statistics of its test examples, their columns, and facts as in report.json."""

    found: Statistics
    columns: Mapping[str, np.ndarray]
    """By name a text or a number of each unit."""
    about: Mapping[str, Any]

    def write(self, folder: pathlib.Path) -> None:
        """Writes both files, each whole or not at all."""
        arrays: dict[str, np.ndarray] = {}
        for kind, given in (('row', self.found.rows), ('sum', self.found.sums)):
            arrays |= {f'{kind}_{name}': small(np.asarray(v)) for name, v in given.items()}
        arrays = {
            name: array
            for name, array in arrays.items()
            if array.dtype.kind in 'biuf' and array.nbytes <= LARGEST
        }
        told = []
        for number, (name, values) in enumerate(self.columns.items()):
            levels = None
            if values.dtype.kind not in 'biuf':
                known, values = np.unique(values.astype(str), return_inverse=True)
                levels = known.tolist()
            arrays[f'column_{number}'] = small(values)
            told.append({'name': name, 'levels': levels})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # pyrefly: ignore
        write_bytes(folder / ROWS, buffer.getvalue())
        write_json(folder / ABOUT, {**self.about, 'columns': told})

    @classmethod
    def read(cls, folder: pathlib.Path) -> KeptExamples | None:
        """What a run has kept; None where it has kept nothing.

        Raises:
          UserError: a file is damaged, or of another form.
        """
        if not (folder / ABOUT).exists():
            return None
        about = read_json(folder / ABOUT)
        check_fields_of(about, str(folder / ABOUT), _FIELDS)
        parts: dict[str, dict[str, np.ndarray]] = {'row': {}, 'sum': {}, 'column': {}}
        if (folder / ROWS).exists():
            archive = NpzArchive(folder / ROWS)
            for full in archive.headers:
                kind, _, name = full.partition('_')
                parts.get(kind, {})[name] = archive.read(full)
        columns = {}
        for number, column in enumerate(about['columns']):
            values, levels = parts['column'].get(str(number)), column.get('levels')
            if values is None:
                continue
            if levels is not None:
                if len(values) and not 0 <= values.min() <= values.max() < len(levels):
                    raise UserError(f'{folder / ROWS}: column {number} names levels that are not')
                values = np.asarray(levels, object)[values]
            columns[str(column['name'])] = values
        rows = parts['row']
        if len({len(values) for values in (*rows.values(), *columns.values())}) > 1:
            raise UserError(f'{folder / ROWS}: its arrays are of different numbers of examples')
        found = Statistics(rows, parts['sum'], int(about.get('outputs') or 0))
        return cls(found, columns, about)


def small(values: np.ndarray) -> np.ndarray:
    """The same numbers in fewer bytes: float32, and the narrowest integers.

    >>> small(np.array([1, 300])).dtype, small(np.array([0.5])).dtype
    (dtype('int16'), dtype('float32'))
    """
    if values.dtype.kind == 'f':
        return values.astype(np.float32)
    if values.dtype.kind in 'iu' and values.size:
        low, high = int(values.min()), int(values.max())
        for dtype in (np.int8, np.int16, np.int32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return values.astype(dtype)
    return values


def kept_examples(
    prepared: Prepared,
    found: Statistics,
    metrics: Mapping[str, object],
    fitted: FitResult,
) -> KeptExamples:
    """What is to be kept of a run on its test examples.

    Args:
      prepared: the run.
      found: of its test split; without a row where there is none.
      metrics: of the same.
      fitted: its training: answers that are shown on their inputs are of the weights kept.
    """
    data, task = prepared.data, task_of(prepared.data.task)
    names, ids = data.class_names, np.asarray(data.test.ids, object)
    about: dict[str, Any] = {
        'task': data.task,
        'kind': {'table': 'rows'}.get(data.train.takes, data.train.takes),
        'class_names': list(names),
        'splits': {name: len(part) for name, part in _parts(data)},
        'counts': {
            name: part.label_kind.counts(part.labels, part.num_classes)
            for name, part in _parts(data)
        },
        'outputs': found.outputs,
        'steps_per_epoch': prepared.run_length.steps_per_epoch,
        'steps_planned': prepared.run_length.steps,
        'leaks': None,
        'baselines': [],
        'mistakes': [],
    }
    if not len(found):
        return KeptExamples(Statistics({}), {}, about)
    index = found.rows['index']
    audit = quick_audit(data)
    exact, near = audit.leaked(NAMES.index('test'))
    columns = dict(task.columns(found, names))
    columns |= {f'{name} (inputs)': values[index] for name, values in input_sizes(data.test)}
    about['leaks'] = audit.leaks().get('test')
    for what, positions in (('exact', exact), ('near', near)):
        if len(positions):
            copied = np.isin(index, positions)
            columns[f'{what} copy of a training example'] = np.where(copied, 'yes', 'no')
    given = {**data.group_columns, **data.slices}
    for name, values in given.items():
        told = np.asarray([values.get(str(each), '') for each in ids[index]], object)
        columns[f'column {name}'] = measured(told) if name in data.slices else told
    about['baselines'] = [
        dataclasses.asdict(each)
        for each in task.baselines(data.train.labels, found, names, metrics)
    ]
    pictures = InputPictures(data.test, prepared)
    mistakes = task.mistakes(found, ids[index].tolist(), names, MISTAKES)
    places = [int(index[mistake['position']]) for mistake in mistakes]
    if task.draws_answers and places:
        seen = pictures.answered(places, fitted.variables)
    else:
        seen = [pictures.of(place) for place in places]
    for mistake, one, place in zip(mistakes, seen, places, strict=True):
        about['mistakes'].append(task.in_context({**mistake, **one}, data.test, place))
    return KeptExamples(found, columns, about)


def _parts(data: Splits) -> tuple[tuple[str, Dataset], ...]:
    return (('train', data.train), ('validation', data.val), ('test', data.test))
