"""The grids of an ablation, one for each task, run and reduced to what every arm chose."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.engines import Cell, Engine
from ftjax.ablation.equal_compute import at_equal_compute
from ftjax.ablation.forecast import forecast
from ftjax.ablation.runner import jobs_of, run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.variants import chosen, expanded
from ftjax.cells.further_tests import further_settings
from ftjax.cells.runner import CellRunner
from ftjax.config import merged, read_config
from ftjax.data.audit.overview import overview
from ftjax.errors import UserError
from ftjax.training.atomic import to_jsonable, write_text

Rows = list[dict[str, Any]]


def run_grids(
    values: Mapping[str, Any],
    settings: AblationSettings,
    folder: pathlib.Path,
    engine: Engine,
    vectorise: bool = True,
) -> tuple[Rows, list[str]]:
    """Runs what is missing; returns the rows that a summary is made of, and notes for readers.

    Several tasks have a folder each below `folder`, which then holds the rows of all.

    Args:
      values: the config as plain dicts, without its section `ablation`.
      vectorise: whether runs that differ in their rate alone share a program where they can.
    """
    rows, notes = [], []
    for task, changes in tasks_of(settings).items():
        if task:
            print(f'{task}:', flush=True)
        of_task = merged(values, changes)
        own, told = settings, []
        if settings.equal == 'compute':
            own, note = at_equal_compute(settings, CellRunner(of_task, settings).length)
            told = [note]
        place = folder / place_of(task) if task else folder
        made = run_one(of_task, expanded(own), place, engine, vectorise)
        kept, more = chosen(made, own)
        rows += [{'task': task, **to_jsonable(row)} if task else row for row in kept]
        notes += [f'{task}: {note}' if task else note for note in (*told, *more)]
    if settings.tasks:
        write_text(folder / 'runs.jsonl', ''.join(json.dumps(row) + '\n' for row in rows))
    return rows, notes


def run_one(
    values: Mapping[str, Any],
    settings: AblationSettings,
    folder: pathlib.Path,
    engine: Engine,
    vectorise: bool,
) -> Rows:
    """All rows of one grid."""
    runner = CellRunner(dict(values), settings)
    shared = runner.shared if vectorise else lambda arm: False

    def foresee(cells: Sequence[Cell], rows: Rows) -> str:
        surveys = {arm: runner.survey(arm) for arm, rate, _ in cells if rate is not None}
        stored = max((found.stored for found in surveys.values()), default=0)

        def seconds(arm: str) -> float:
            return surveys[arm].seconds if arm in surveys else 1.0

        told = forecast(jobs_of(cells, shared), rows, seconds, engine.workers, stored)
        first = runner.data_of(runner.config_of(*cells[0]))
        return f'{overview(first)}\n{told}'

    return run_grid(
        settings,
        runner,
        folder,
        {'config': values},
        engine=engine,
        together=runner.together,
        shared=shared,
        foresee=foresee,
    )


def check_grids(values: Mapping[str, Any], settings: AblationSettings) -> None:
    """Reads the config of every arm on every task: a mistake should not wait for its turn."""
    places = [place_of(task) for task in settings.tasks]
    if len(set(places)) < len(places):
        raise UserError(f'config.ablation.tasks: two of {", ".join(settings.tasks)} share a folder')
    grid = expanded(settings)
    for changes in tasks_of(settings).values():
        of_task = merged(values, changes)
        for arm in grid.tuned:
            config = read_config(merged(of_task, grid.changes(arm)))
            for name, given in settings.also_evaluate.items():
                further_settings(config.data, name, given)


def tasks_of(settings: AblationSettings) -> Mapping[str, Mapping[str, Any]]:
    """{task: changes of the config}; one without name or changes where none are named."""
    return settings.tasks or {'': {}}


def place_of(task: str) -> str:
    """The folder of a task.

    >>> place_of('5 a class / noise')
    '5_a_class_noise'
    """
    return re.sub(r'[^\w.=-]+', '_', task).strip('_.')
