"""Runs the cells of an ablation one after the other, and repeats none that is finished."""

from __future__ import annotations

import hashlib
import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from ftjax.ablation.rates_search import search_rates
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.training.atomic import read_json, to_jsonable, write_json
from ftjax.training.interruption import says_where, stop_if_requested, stops_on_signals
from ftjax.training.logs import JsonLines, read_jsonl
from ftjax.training.progress import Progress

Execute = Callable[[str, float | None, int], dict[str, Any]]
"""(arm, rate, seed) -> a row's fields, `status` among them."""


def run_grid(
    settings: AblationSettings,
    execute: Execute,
    folder: str | pathlib.Path,
    fixed: Mapping[str, Any],
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Runs what is missing and returns all rows of `folder/runs.jsonl`.

    Every row is on disk before the next cell starts. Rounds of the rate search follow from
    the rows, so an interrupted grid goes on where it stopped: with the cell that it was in,
    from its beginning.

    Args:
      settings: the grid.
      execute: runs one cell.
      fixed: all else that decides a cell; a folder made with another is refused.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, settings, fixed)
    path = folder / 'runs.jsonl'
    rows = read_jsonl(path) if path.exists() else []
    planned = len(settings.tuned) * len(settings.rates) * len(settings.seeds)
    planned += (len(settings.arms) - len(settings.tuned)) * len(settings.seeds)
    if progress:
        print(f'{planned} runs planned at least, {len(rows)} finished already', flush=True)
    with (
        stops_on_signals(),
        says_where(lambda: f'after {len(rows)} finished runs; the same command goes on'),
        JsonLines(path) as log,
        Progress(
            max(planned, len(rows)), 'ablation', unit='run', start=len(rows), enabled=progress
        ) as bar,
    ):
        while cells := pending(settings, rows):
            for arm, rate, seed in cells:
                stop_if_requested()
                began = time.perf_counter()
                row = {'arm': arm, 'rate': rate, 'seed': seed, **execute(arm, rate, seed)}
                row.setdefault('wall_seconds', time.perf_counter() - began)
                rows.append(to_jsonable(row))
                log.append(row, sync=True)
                if len(rows) <= planned:
                    bar.update(len(rows), {'arm': arm})
    return rows


def pending(
    settings: AblationSettings, rows: list[dict[str, Any]]
) -> list[tuple[str, float | None, int]]:
    """The cells that the current round still needs; none when the grid is done."""
    seen = {(row['arm'], row['seed']) for row in rows if row['rate'] is None}
    cells: list[tuple[str, float | None, int]] = [
        (arm, None, seed)
        for arm in settings.arms
        if arm not in settings.tuned
        for seed in settings.seeds
        if (arm, seed) not in seen
    ]
    if settings.tuned:
        search = search_rates(
            [row for row in rows if row['arm'] in settings.tuned],
            arms=settings.tuned,
            grid=settings.grids,
            seeds=settings.seeds,
            metric=settings.metric,
            max_extra=settings.max_extra,
        )
        cells.extend(search.pending)
    return cells


def claim(folder: pathlib.Path, settings: AblationSettings, fixed: Mapping[str, Any]) -> None:
    """Notes what the folder's rows were made with; refuses to mix two ablations."""
    described = to_jsonable({'arms': {a: settings.changes(a) for a in settings.arms}, **fixed})
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    known = folder / 'ablation.json'
    if known.exists() and read_json(known)['digest'] != digest:
        raise UserError(f'{folder} holds an ablation of another config; choose another --workdir')
    write_json(known, {'digest': digest, 'config': described})
