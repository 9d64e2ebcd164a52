"""Which files of an ablation's folder are copied: what it goes on from, and what it found."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterable

from ftjax.ablation.cells.task_race import START
from ftjax.ablation.cells.tasks import place_of, tasks_to_run
from ftjax.ablation.grid import claim, equal_compute
from ftjax.ablation.settings import AblationSettings
from ftjax.io.identity import identity_changes

ROWS = 'runs.jsonl'
NOTES = (claim.FILE, START, equal_compute.FILE, identity_changes.FILE)
"""What stands beside the rows of a grid, and without which it does not go on from them."""
RESULTS = ('summary.json', 'table.md', 'report.html', 'verdicts.json')
FIGURES = 'figures'


def places_of(settings: AblationSettings, only: str) -> dict[str, str]:
    """{task: its folder, relative to that of the ablation}; of one without tasks {'': ''}."""
    return {task: place_of(task) if task else '' for task in tasks_to_run(settings, only)}


def named(place: str, file: str) -> str:
    """A file of a task's folder, relative to the folder of the ablation.

    >>> named('noise', 'runs.jsonl'), named('', 'runs.jsonl')
    ('noise/runs.jsonl', 'runs.jsonl')
    """
    return f'{place}/{file}' if place else file


def whole_lines(data: bytes) -> bytes:
    r"""Lines up to the last that ends; one may be in the midst of being written.

    >>> whole_lines(b'{"seed": 0}\n{"se')
    b'{"seed": 0}\n'
    """
    return data[: data.rfind(b'\n') + 1]


def held(folder: pathlib.Path, names: Iterable[str]) -> dict[str, bytes]:
    """What files hold, by name; those that are not there are left out."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def result_files(folder: pathlib.Path, places: Collection[str]) -> list[str]:
    """Names of what was made from the rows: tables, report and figures.

    The rows of all tasks in one file are among them: the rows of each task are the origin.
    """
    figures = sorted(path.name for path in (folder / FIGURES).glob('*') if path.is_file())
    together = () if '' in places else (ROWS,)
    return [*together, *RESULTS, *(f'{FIGURES}/{name}' for name in figures)]
