"""Where results of benchmarks go: NAME.json, a list of rows, and NAME.md beside it.

A time belongs to the machine that it was measured on. Each row names its machine, a run replaces
the rows of its own machine alone, and the page has a table for each.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

# What makes a machine: rows that differ in one of these stand in tables of their own.
MACHINE = ('device', 'threads', 'processor', 'instructions', 'jax')
NOT_RECORDED = 'processor and jax version not recorded'


def write(
    folder: pathlib.Path,
    name: str,
    rows: list[dict[str, Any]],
    caption: str,
    command: str,
    show: bool = True,
    timed: bool = True,
) -> None:
    """Writes both; a row that does not name its machine was measured here.

    Args:
      rows: those of this machine; rows of others stay as the folder has them.
      timed: False where no row depends on the machine; then rows name none.
    """
    from ftjax.io.files.atomic import write_json, write_text

    if timed:
        here = this_machine()
        mine = [{**here, **row} for row in rows]
        rows = [*mine, *(row for row in known_rows(folder, name) if machine_of(row) != here)]
    else:
        rows = [{key: row[key] for key in row if key not in MACHINE} for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f'{name}.json', rows)
    lines = [f'{caption}\n', f'Made by `{command}`.']
    for machine in dict.fromkeys(machine_line(row) for row in rows):
        lines += ['', *([f'{machine}\n'] if machine else [])]
        lines += table([row for row in rows if machine_line(row) == machine])
    write_text(folder / f'{name}.md', '\n'.join(lines) + '\n')
    if show:
        print('\n'.join(lines))


def this_machine() -> dict[str, Any]:
    """What `MACHINE` names, of the machine that this runs on."""
    import jax

    from ftjax.io.process.processor import instruction_set, processor_name

    threads = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return {
        'device': jax.devices()[0].device_kind,
        'threads': threads,
        'processor': processor_name(),
        'instructions': instruction_set(),
        'jax': jax.__version__,
    }


def machine_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row that says where it was measured."""
    return {key: row[key] for key in MACHINE if key in row}


def known_rows(folder: pathlib.Path, name: str) -> list[dict[str, Any]]:
    """The rows of NAME.json; [] where there is no such file."""
    from ftjax.io.files.atomic import read_json

    file = folder / f'{name}.json'
    return read_json(file) if file.exists() else []


def rows_here(folder: pathlib.Path, name: str) -> dict[str, dict[str, Any]]:
    """The rows of NAME.json that this machine measured, by their names."""
    here = this_machine()
    return {row['row']: row for row in known_rows(folder, name) if machine_of(row) == here}


def machine_line(row: Mapping[str, Any]) -> str:
    """`Device: cpu, 2 threads; Intel Xeon, AVX-512; jax 0.10.2`; '' of a row that names none."""
    if 'device' not in row:
        return ''
    line = f'Device: {row["device"]}, {row["threads"]} threads; '
    if 'processor' not in row:
        return f'{line}{NOT_RECORDED}.'
    processor = ', '.join(filter(None, (row['processor'], row['instructions'])))
    return f'{line}{processor}; jax {row["jax"]}.'


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table in Markdown; the machine stands above it, not in its columns."""
    columns = [
        key for key in dict.fromkeys(key for row in rows for key in row) if key not in MACHINE
    ]
    sides = [' :--- ' if isinstance(rows[0][column], str) else ' ---: ' for column in columns]
    lines = [
        '| ' + ' | '.join(column.replace('_', ' ') for column in columns) + ' |',
        f'|{"|".join(sides)}|',
    ]
    return [*lines, *('| ' + ' | '.join(shown(row.get(c)) for c in columns) + ' |' for row in rows)]


def shown(value: Any) -> str:
    """A cell: three digits of a number, 'low .. high' of a pair."""
    if isinstance(value, (list, tuple)):
        return ' .. '.join(shown(part) for part in value)
    if isinstance(value, float):
        return f'{value:.3g}'
    return '' if value is None else str(value)
