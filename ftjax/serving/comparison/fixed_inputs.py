"""The inputs that two bundles are compared on: a folder or file, or their golden inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Unreadable
from ftjax.data.unlabelled.table_items import table_rows
from ftjax.data.user_paths import existing_file
from ftjax.errors import UserError
from ftjax.io.json.json_reader import read_object
from ftjax.pretrained.own_files import CONFIG
from ftjax.serving.bundle.answer_forms.class_answers import ClassAnswers
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.loaded_bundle import Bundle

MOST = 100_000
"""Inputs that are compared, at most."""


@dataclasses.dataclass(frozen=True)
class FixedInput:
    """One input."""

    id: str
    raw: Any
    """As a bundle's reader takes it; of a golden image its pixels."""
    rows: InputRows | None = None
    """As the programs take it, where that is known already."""


@dataclasses.dataclass(frozen=True)
class FixedSet:
    """Inputs with what they are."""

    told: str
    inputs: Sequence[FixedInput]
    failed: int = 0
    """Inputs that could not be read."""


def inputs_at(source: str, bundle: Bundle) -> FixedSet:
    """Inputs without labels from what scripts/predict.py takes, read as the bundle's run read.

    Raises:
      UserError: no such file, or none that the bundle takes; more than MOST inputs.
    """
    inputs, failed = [], 0
    for item in _found(source, bundle):
        if isinstance(item, Unreadable):
            failed += 1
            continue
        if len(inputs) == MOST:
            raise UserError(f'{source} holds more than {MOST:,} inputs; give a part of it')
        inputs.append(item)
    if not inputs:
        raise UserError(f'{source}: none of its inputs can be read')
    return FixedSet(f'the {len(inputs):,} inputs of {source}', inputs, failed=failed)


def _found(source: str, bundle: Bundle) -> Iterator[FixedInput | Unreadable]:
    settings = _settings(bundle)
    if bundle.signature.takes == 'table':
        for row in table_rows(existing_file(source, 'the input'), settings):
            yield FixedInput(row.id, row.cells) if isinstance(row, Row) else row
        return
    for item in read_inputs(source, settings, bundle.signature.takes == 'texts'):
        yield item if isinstance(item, Unreadable) else FixedInput(item.id, item.value)


def _settings(bundle: Bundle) -> DataSettings:
    config = read_object(bundle.folder / CONFIG)
    fields = ((config.get('provenance') or {}).get('inputs') or {}).get('data') or {}
    known = {field.name for field in dataclasses.fields(DataSettings)}
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in known
    }
    try:
        return DataSettings(**given)
    except (TypeError, ValueError) as error:
        where = bundle.folder / CONFIG
        raise UserError(f'{where}: how inputs are read is not told ({error})') from error


def golden_inputs(first: Bundle, second: Bundle) -> FixedSet:
    """The golden inputs of both, each once.

    Raises:
      UserError: goldens are arrays that the other bundle does not take, or that are no answer by
        themselves.
    """
    found = {}
    for bundle in (first, second):
        goldens = read_goldens(bundle.folder)
        for name, value in zip(goldens.ids, goldens.raw, strict=False):
            found[repr(value)] = FixedInput(name, value)
        if goldens.raw:
            continue
        if not isinstance(bundle.form, ClassAnswers) or _takes(first) != _takes(second):
            raise UserError(
                'goldens are arrays, which are not enough here; compare the bundles on files (--on)'
            )
        for at, name in enumerate(goldens.ids):
            row = {part: array[at] for part, array in goldens.inputs.items()}
            key = repr([array.tobytes() for array in row.values()])
            found[key] = FixedInput(name, next(iter(row.values())), InputRows((row,)))
    told = f'the {len(found)} golden inputs of both, which are of validation data'
    return FixedSet(told, list(found.values()))


def _takes(bundle: Bundle) -> list[tuple[str, str, tuple[int | str, ...]]]:
    return [(name, a.dtype, a.shape) for name, a in sorted(bundle.signature.inputs.items())]
