"""Runs the cells of an ablation on an engine, and repeats none that is finished."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.ablation.engines.engine import Cell, Engine, Execute, InProcess, Job, Together, Work
from ftjax.ablation.engines.placement import Needs
from ftjax.ablation.grid.cell_schedule import FullGrid, Schedule
from ftjax.ablation.grid.claim import claim
from ftjax.ablation.grid.row_identity import RowIdentities
from ftjax.ablation.grid.rows import cell_of, read_rows
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.row_types import RowList
from ftjax.distributed.preemption import says_where, stops_on_signals
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.jsonl import JsonLines
from ftjax.io.process.progress import Progress
from ftjax.printable import printable
from ftjax.training.feature_cache.store import drop_shared


def run_grid(
    settings: AblationSettings,
    execute: Execute,
    folder: str | pathlib.Path,
    fixed: Mapping[str, object],
    progress: bool = True,
    *,
    engine: Engine | None = None,
    together: Together | None = None,
    needs: Needs | None = None,
    group: Callable[[str], str] = lambda arm: '',
    foresee: Callable[[Sequence[Cell], RowList], str] | None = None,
    about: Callable[[Sequence[Cell]], str] | None = None,
    retry_failed: bool = False,
    identities: RowIdentities | None = None,
    schedule: Schedule | None = None,
) -> RowList:
    """Runs what is missing and returns the grid's rows of `folder/runs.jsonl`, in its order.

    RowList of arms, seeds and rates that the grid does not name stay in the file and do not count.

    Every row is on disk before the next is asked for, and this process alone writes them.
    The schedule's rounds follow from the rows, so an interrupted grid goes on where it
    stopped: with the cells that it was in, from their beginning. What the rows hold does not
    depend on the engine, but for their times, and `workers` where it ran several cells at a time.

    Args:
      settings: the grid.
      execute: runs one cell.
      fixed: all else that decides a cell; a folder made with another is refused.
      engine: where cells run; None for one after the other, in this process.
      together: runs the cells of a job that holds several.
      needs: what runs need of devices, for an engine that places them.
      group: of an arm: cells of one seed whose arms have the same are one job; '' for none.
      foresee: (cells to run, rows there are) -> how long they take: said before the start, and
        again when the first of them is there.
      about: cells to run -> what is said of their data before the start.
      retry_failed: try cells again whose row says `failed`: a row more, with `retries` in it.
      identities: what rows were made from is held against what it is now.
      schedule: which cells are run, in which order; None for all rates with all seeds.
    """
    schedule = FullGrid(settings) if schedule is None else schedule
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, settings, fixed)
    path = folder / 'runs.jsonl'
    # Rows that no round has asked for yet wait here: a later round may ask for them.
    stored = read_rows(path)
    failed_rows = [row for row in stored if retry_failed and row['status'] == 'failed']
    again = {cell_of(row): row for row in failed_rows}
    asked_again = sum(cell_of(row) in again for row in schedule.present(stored))
    stored = [row for row in stored if cell_of(row) not in again]
    rows = schedule.present(stored)
    planned = schedule.planned
    if identities is not None and rows:
        identities.check(rows, folder)
    cells = schedule.pending(rows)
    if engine is None or not cells:
        engine = InProcess()
    # What workers would each compute and keep is computed once, for as long as the grid goes on.
    features = folder.absolute() / 'shared_features'
    work = Work(execute, together, needs, '' if isinstance(engine, InProcess) else str(features))
    if progress and isinstance(engine, InProcess):
        # Nothing is shown while a first program is compiled: it can take as long as many runs.
        work = Announced(execute, together, places=first_of_arms(cells))
    with (
        stops_on_signals(),
        says_where(lambda: f'after {len(rows)} finished runs; the same command goes on'),
        JsonLines(path) as log,
        engine.open(work) as run,
        Progress(
            max(planned, len(rows)),
            'ablation',
            unit='run',
            start=len(rows),
            enabled=progress,
            at_most=schedule.seconds_left(rows),
        ) as bar,
    ):
        if progress:
            told = f'{planned} runs planned {schedule.bound}, {len(rows)} finished already'
            told += f', {asked_again} failed ones to be tried again' if asked_again else ''
            print('; '.join(filter(None, (told, about(cells) if about and cells else ''))))
            if foresee is not None and cells:
                print(foresee(cells, rows), flush=True)
        updated = False
        while cells:
            for row in run(jobs_of(cells, group if together is not None else lambda arm: '')):
                row = to_jsonable(row)
                if engine.workers > 1:
                    row['workers'] = engine.workers
                failed = again.get(cell_of(row))
                if failed is not None:
                    row['retries'] = failed.get('retries', 0) + 1
                rows.append(row)
                stored.append(row)
                log.append(row, sync=True)
                if identities is not None:
                    identities.take(row)
                bar.update(len(rows), {'arm': row['arm']})
                if progress and foresee is not None and not updated:
                    done = row['arm'], row['rate'], row['seed']
                    left = [cell for cell in cells if cell != done]
                    updated = True
                    if left:
                        print(foresee(left, rows), flush=True)
            seen = {cell_of(row) for row in rows}
            rows = schedule.present(stored)
            if identities is not None:
                identities.check([row for row in rows if cell_of(row) not in seen], folder)
            cells = schedule.pending(rows)
            if len(rows) + len(cells) > bar.pace.total:
                bar.grow(len(rows) + len(cells))
                if progress:
                    print(f'a further round, runs: {len(cells)}', flush=True)
    drop_shared(features)
    return in_order(settings, rows)


@dataclasses.dataclass(frozen=True)
class Announced(Work):
    """Work in this process that says when it comes to an arm for the first time."""

    places: dict[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, job: Job) -> list[dict[str, Any]]:
        """See Work."""
        place = self.places.pop(job[0][0], '')
        if place:
            print(f'compiling arm {printable(job[0][0])} ({place})', flush=True)
        return super().__call__(job)


def first_of_arms(cells: Sequence[Cell]) -> dict[str, str]:
    """Arm to its place among the arms that are trained: '2 of 8'.

    >>> first_of_arms([('full', 0.1, 0), ('pixels', None, 0), ('head', 0.1, 0)])
    {'full': '1 of 2', 'head': '2 of 2'}
    """
    arms = dict.fromkeys(arm for arm, rate, _ in cells if rate is not None)
    return {arm: f'{number} of {len(arms)}' for number, arm in enumerate(arms, 1)}


def jobs_of(cells: Sequence[Cell], group: Callable[[str], str]) -> list[Job]:
    """The cells as jobs: those of a group and a seed together, those without a group alone.

    Seed by seed, because a seed is a data set, which is then read once.

    >>> jobs_of([('a', 0.1, 0), ('b', 0.1, 0), ('a', 0.2, 0)], {'a': 'a', 'b': ''}.get)
    [(('a', 0.1, 0), ('a', 0.2, 0)), (('b', 0.1, 0),)]
    """
    jobs: dict[tuple, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell[2]):
        arm, _, seed = cell
        name = group(arm)
        jobs.setdefault((name, seed) if name else cell, []).append(cell)
    return [tuple(job) for job in jobs.values()]


def in_order(settings: AblationSettings, rows: RowList) -> RowList:
    """The rows as the grid names them: arm by arm, seed by seed, rates rising.

    Workers finish in any order, and the last digit of a mean depends on that of its terms.
    """
    arms = {arm: number for number, arm in enumerate(settings.arms)}
    return sorted(
        rows, key=lambda row: (arms.get(row['arm'], len(arms)), row['seed'], row['rate'] or 0.0)
    )
