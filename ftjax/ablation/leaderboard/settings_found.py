"""What is compared with what: the rows of one folder and task, with the line of each."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from ftjax.ablation.cells.tasks import place_of
from ftjax.ablation.grid.rows import check_row, read_rows
from ftjax.ablation.rates.choice import known_rate
from ftjax.ablation.statistics.row_types import OwnRow, Summary
from ftjax.ablation.summary.summary import read_summary
from ftjax.io.json.jsonl import numbered_jsonl

ROWS, REPORT = 'runs.jsonl', 'summary.json'
SUBMISSIONS = 'submissions'
"""The folder below results/leaderboard that holds what others handed in."""


@dataclasses.dataclass(frozen=True)
class Located:
    """A row and where it stands."""

    row: OwnRow
    file: str
    """Relative to the folder of all results, with slashes."""
    line: int


@dataclasses.dataclass(frozen=True)
class Setting:
    """Arms on the same data, for the same steps: one folder and task."""

    name: str
    """The folder below results, and the task after a colon where there are several."""
    rows: tuple[Located, ...]
    task: str = ''
    report: Summary | None = None
    """The summary.json beside the rows; None where there is none."""

    @property
    def arms(self) -> dict[str, list[Located]]:
        """The rows of every arm, in the order of their first rows."""
        found: dict[str, list[Located]] = {}
        for located in self.rows:
            found.setdefault(located.row['arm'], []).append(located)
        return found


def settings_below(results: pathlib.Path) -> dict[str, Setting]:
    """Every setting of the rows below a folder, by name; submissions apart.

    Raises:
      UserError: a row that cannot be one, two rows that contradict each other, or a summary.json
        that is none.
    """
    tables: dict[pathlib.Path, dict[str, list[Located]]] = {}
    for path in sorted(results.rglob(ROWS)):
        place = path.relative_to(results)
        if SUBMISSIONS in place.parts:
            continue
        by_task = tables[path] = {}
        for located in located_rows(path, place.as_posix()):
            by_task.setdefault(str(located.row.get('task') or ''), []).append(located)
    # Of several tasks each has its own folder below, whose rows stand in the joint file once more.
    again = {
        path.parent / place_of(task) / ROWS
        for path, by_task in tables.items()
        for task in by_task
        if task
    }
    found: dict[str, Setting] = {}
    for path, by_task in tables.items():
        if path in again:
            continue
        told = path.parent / REPORT
        report = read_summary(told) if told.is_file() else None
        for task, rows in by_task.items():
            folder = path.parent.relative_to(results).as_posix()
            name = folder + (f': {task}' if task else '')
            counted = rows if report is None else that_count(rows, report, task)
            found[name] = Setting(name, tuple(counted), task, report)
    return found


def that_count(rows: Sequence[Located], report: Summary, task: str) -> list[Located]:
    """The rows that a report was made of: arms, seeds and rates that its config named.

    A folder may be used again with fewer of them. Variants that were tuned and short runs of a
    race are no arms of the report either. None at all where the report's reference has no rows:
    the others would be compared with another arm.
    """
    arms = {
        arm['arm']: [one['rate'] for one in arm['curve'] if one['rate'] is not None]
        for told in report['tasks']
        if told['task'] == (task or 'all')
        for arm in told['arms']
    }
    seeds = set(report['seeds'])
    found = [
        one
        for one in rows
        if one.row['arm'] in arms
        and one.row['seed'] in seeds
        and known_rate(one.row['rate'], arms[one.row['arm']]) in (None, *arms[one.row['arm']])
    ]
    named = {one.row['arm'] for one in found}
    return found if report['reference'] in named else []


def located_rows(path: pathlib.Path, place: str) -> Iterator[Located]:
    """The rows of a file with their lines, one a cell.

    Raises:
      UserError: a row that cannot be one, or two rows that contradict each other.
    """
    kept = {identity(row) for row in read_rows(path)}
    for line, row in numbered_jsonl(path):
        check_row(row, f'{path} line {line}')
        if identity(row) in kept:
            kept.remove(identity(row))
            yield Located(row, place, line)


def identity(row: Mapping[str, object]) -> str:
    """A row as text: equal for the same row read twice."""
    return repr(sorted(row.items(), key=lambda pair: pair[0]))
