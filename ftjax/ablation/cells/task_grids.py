"""The grids of an ablation, one for each task, run and reduced to what every arm chose."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ftjax.ablation.cells.device_needs import DeviceNeeds
from ftjax.ablation.cells.extra_test_sets import further_settings
from ftjax.ablation.cells.run_cell import CellRunner, KnownSplits
from ftjax.ablation.cells.sequence_runner import SequenceRunner
from ftjax.ablation.cells.task_race import budget_of_task, race_of, with_pilots
from ftjax.ablation.cells.tasks import (
    data_sets_of,
    folder_of,
    place_of,
    tasks_of,
    tasks_to_run,
)
from ftjax.ablation.engines.engine import Cell, Engine
from ftjax.ablation.grid.cell_schedule import FullGrid, Schedule
from ftjax.ablation.grid.claim import check_claim, check_place
from ftjax.ablation.grid.drawn_trials import Trials
from ftjax.ablation.grid.equal_compute import LENGTHS, at_equal_compute, keep_note, kept_note
from ftjax.ablation.grid.forecast import forecast
from ftjax.ablation.grid.row_identity import RowIdentities, identity_notes
from ftjax.ablation.grid.rows import read_rows
from ftjax.ablation.grid.run_grid import in_order, jobs_of, run_grid
from ftjax.ablation.grid.short_runs import with_short_runs
from ftjax.ablation.grid.variants import chosen, expanded
from ftjax.ablation.racing.account import described, sentences
from ftjax.ablation.racing.race import Race
from ftjax.ablation.rates.trials import SHARES
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import RowList
from ftjax.config import merged, read_config
from ftjax.distributed.process_group import first
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_text
from ftjax.io.files.lock import run_lock
from ftjax.printable import printable
from ftjax.tasks.metrics import check_metric


def run_grids(
    values: Mapping[str, object],
    settings: AblationSettings,
    folder: pathlib.Path,
    engine: Engine,
    vectorise: bool = True,
    retry_failed: bool = False,
    allow: Collection[str] = (),
    only: str = '',
) -> tuple[RowList, list[str], dict[str, Any]]:
    """Runs what is missing; returns rows for a summary, notes for readers, and races.

    Races are those of `account.described`, by task; none without a budget.

    Several tasks have a folder each below `folder`, which then holds the rows of all. The data
    of every task that has runs to make are looked at before the first of them.

    Args:
      values: the config as plain dicts, without its section `ablation`.
      vectorise: whether runs that differ in their rate alone share a program where they can.
      retry_failed: whether cells that failed are tried again.
      allow: of 'data', 'weights' and 'code', what may be another than the rows that are there
        were made from.
      only: the one task to run, for processes that run the others; '' for all.

    Raises:
      UserError: `only` names no task; another process runs a task of these; or the budget of a
        race takes no task's runs.
    """
    if settings.tasks and not settings.sequence:
        check_place(folder)
    todo = tasks_to_run(settings, only)
    splits = check_data(values, settings, folder, retry_failed, todo)
    rows, notes, races, spent = [], [], {}, {}
    for number, (task, changes) in enumerate(todo.items()):
        if task:
            print(f'{printable(task)}:', flush=True)
        of_task = merged(values, changes)
        own, told = settings, []
        if settings.equal == 'compute':
            own, note = at_equal_compute(settings, CellRunner(of_task, settings, splits).length)
            told = [note]
        place = folder_of(task, folder)
        grid, schedule = scheduled(own, of_task)
        runner = runner_of(of_task, grid, splits)
        if settings.budget:
            amount = budget_of_task(settings, spent, number)
            schedule = race_of(grid, amount, place, engine.workers, runner)
        # The lock of all tasks keeps no process away that runs this one only.
        with run_lock(place, enabled=first()):
            made = run_one(runner, schedule, place, engine, vectorise, retry_failed, allow)
            for note in told:  # of equal compute
                keep_note(place, note)
        kept, more = reduced(made, own, schedule, task, races, spent)
        told += identity_notes(place)
        rows += [{'task': task, **to_jsonable(row)} if task else row for row in kept]
        notes += [f'{task}: {note}' if task else note for note in (*told, *more)]
    check_any(rows, notes)
    if settings.tasks and not settings.sequence and not only:
        write_text(folder / 'runs.jsonl', ''.join(json.dumps(row) + '\n' for row in rows))
    return rows, notes, races


def scheduled(
    settings: AblationSettings, values: Mapping[str, object]
) -> tuple[AblationSettings, Schedule]:
    """The grid that is run, each variant and short run an arm of it, and what is run when."""
    grid = expanded(settings)
    if settings.budget:
        grid = with_pilots(grid, values)
    if settings.search == 'grid':
        return grid, FullGrid(grid)
    if settings.search == 'halving':
        grid = with_short_runs(grid, values, SHARES)
    return grid, Trials(settings)


def reduced(
    rows: RowList,
    settings: AblationSettings,
    schedule: Schedule,
    task: str,
    races: dict[str, Any],
    spent: dict[str, float],
) -> tuple[RowList, list[str]]:
    """The rows of a task that a summary is made of, and notes.

    A race is added to `races` and what it cost to `spent`. One whose budget took no full run has
    no rows, and a note of why.

    Raises:
      UserError: a race without rows that goes on.
    """
    if not isinstance(schedule, Race):
        return chosen(rows, settings)
    state = schedule.state(rows)
    spent[task] = state.ledger.spent
    kept = schedule.results(rows)
    if not kept and state.pending:
        where = f'{task}: ' if task else ''
        raise UserError(
            f'{where}the race within {settings.budget!r} has {len(state.pending)} runs of its '
            'present round to make before anything can be told; run it without --summarise'
        )
    if not kept:
        return [], [f'config.ablation.budget {settings.budget!r}: {state.ended}']
    races[task] = described(schedule, state)
    return kept, sentences(races[task])


def stored_rows(
    values: Mapping[str, object], settings: AblationSettings, folder: pathlib.Path
) -> tuple[RowList, list[str], dict[str, Any]]:
    """What `run_grids` gives, from the rows that a folder holds; nothing is run.

    Where the folders of tasks are not there, rows of all tasks in one file are taken as they are:
    of each arm what it chose, at all rates of that choice.

    Raises:
      UserError: the folder holds no rows, those of another config, or of a race too few.
    """
    file = folder / 'runs.jsonl'
    rows = read_rows(file)
    if not rows:
        raise UserError(f'{file} holds no rows to summarise')
    if settings.tasks and not settings.sequence:
        check_place(folder)
    kept, notes, races, spent = [], [], {}, {}
    for number, (task, changes) in enumerate(tasks_of(settings).items()):
        place, of_task = folder_of(task, folder), merged(values, changes)
        equal = settings.equal == 'compute'
        told = [kept_note(place)] if equal else []
        if task and not settings.budget and not (place / 'runs.jsonl').exists():
            of_arms, more = [row for row in rows if row.get('task') == task], []
        else:
            grid, schedule = scheduled(settings, of_task)
            check_config(of_task, settings, place)
            if settings.budget:
                schedule = race_of(grid, budget_of_task(settings, spent, number), place)
            there = in_order(grid, schedule.present(read_rows(place / 'runs.jsonl')))
            of_arms, more = reduced(there, settings, schedule, task, races, spent)
        kept += [{'task': task, **to_jsonable(row)} if task else row for row in of_arms]
        told += [*identity_notes(place), *more]
        notes += [f'{task}: {note}' if task else note for note in told]
    check_any(kept, notes)
    return kept, notes, races


def check_any(rows: RowList, notes: Sequence[str]) -> None:
    """Raises UserError, with the last note, where no task of a race has rows to report."""
    if not rows:
        raise UserError(notes[-1] if notes else 'no runs to report')


def check_config(
    values: Mapping[str, object], settings: AblationSettings, place: pathlib.Path, **said: str
) -> None:
    """Raises UserError where a folder notes the ablation of another config than a task's.

    Args:
      values: the config with the changes of the task.
      place: the folder of the task.
      said: `named` and `other` of `check_claim`.
    """
    equal = settings.equal == 'compute'
    # The lengths of short runs follow from those of full ones, which are not known here.
    claimed = expanded(settings) if equal else scheduled(settings, values)[0]
    check_claim(place, claimed, {'config': values}, LENGTHS if equal else (), **said)


def run_one(
    runner: CellRunner,
    schedule: Schedule,
    folder: pathlib.Path,
    engine: Engine,
    vectorise: bool,
    retry_failed: bool = False,
    allow: Collection[str] = (),
) -> RowList:
    """All rows of one grid."""

    def group(arm: str) -> str:
        return runner.group(arm) if vectorise or arm not in runner.settings.tuned else ''

    def foresee(cells: Sequence[Cell], rows: RowList) -> str:
        tuned = {arm for arm, rate, _ in cells if rate is not None}
        stored = max((runner.survey(arm).stored for arm in tuned), default=0)
        return forecast(jobs_of(cells, group), rows, runner.seconds, engine.workers, stored)

    def about(cells: Sequence[Cell]) -> str:
        return runner.overview(cells[0])

    return run_grid(
        runner.settings,
        runner,
        folder,
        {'config': runner.values},
        engine=engine,
        together=runner.together,
        needs=DeviceNeeds(runner),
        group=group,
        foresee=foresee,
        about=about,
        retry_failed=retry_failed,
        identities=RowIdentities(runner.identity_key, runner.identity, allow),
        schedule=schedule,
    )


def check_data(
    values: Mapping[str, object],
    settings: AblationSettings,
    folder: pathlib.Path,
    retry_failed: bool = False,
    tasks: Mapping[str, Mapping[str, object]] | None = None,
) -> KnownSplits:
    """Looks at the data of each task with runs to make; a mistake should not wait for its turn.

    Returns the last that were read, for the first runs to use. `tasks` are those to run, None for
    all.

    Raises:
      UserError: the task has no such metric, or no examples to choose by or to be tested on.
    """
    known: KnownSplits = {}
    todo = tasks_of(settings) if tasks is None else tasks
    for task, changes in reversed([*todo.items()]):
        of_task = merged(values, changes)
        grid, schedule = scheduled(settings, of_task)
        rows = schedule.present(read_rows(folder_of(task, folder) / 'runs.jsonl'))
        rows = [row for row in rows if not (retry_failed and row['status'] == 'failed')]
        if settings.budget or schedule.pending(rows):
            runner_of(of_task, grid, known).check()
    return known


def check_grids(values: Mapping[str, object], settings: AblationSettings) -> None:
    """Reads the config of every arm on every task: a mistake should not wait for its turn."""
    places = [place_of(task) for task in settings.tasks]
    if len(set(places)) < len(places):
        raise UserError(f'config.ablation.tasks: two of {", ".join(settings.tasks)} share a folder')
    grid, kept = expanded(settings), settings.retention_asked
    for changes in data_sets_of(settings).values():
        of_task = merged(values, changes)
        for arm in grid.tuned:
            config = read_config(merged(of_task, grid.changes(arm)))
            for name, given in settings.also_evaluate.items():
                further, _ = further_settings(config.data, name, given)
                if kept is not None and name == kept.of:
                    check_metric(kept.metric.name, further.task, what=f'{name}: retention metric')


def runner_of(
    values: Mapping[str, object], settings: AblationSettings, known: KnownSplits
) -> CellRunner:
    """What runs the cells of a grid: each a run, or a run on every task of a sequence."""
    kind = SequenceRunner if settings.sequence else CellRunner
    return kind(values, settings, known)
