"""Where results of benchmarks go: NAME.json, a list of rows, and NAME.md beside it."""

from __future__ import annotations

import os
import pathlib
from typing import Any


def write(
    folder: pathlib.Path,
    name: str,
    rows: list[dict[str, Any]],
    caption: str,
    command: str,
    show: bool = True,
) -> None:
    """Writes both; `device` and `threads` are added to every row that does not name them."""
    import jax

    from ftjax.io.files.atomic import write_json, write_text

    device = jax.devices()[0].device_kind
    threads = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    rows = [{'device': device, 'threads': threads, **row} for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f'{name}.json', rows)
    columns = [key for key in rows[0] if key not in ('device', 'threads')]
    sides = [' :--- ' if isinstance(rows[0][column], str) else ' ---: ' for column in columns]
    lines = [
        f'{caption}\n',
        f'Device: {device}, {threads} threads. Made by `{command}`.\n',
        '| ' + ' | '.join(column.replace('_', ' ') for column in columns) + ' |',
        f'|{"|".join(sides)}|',
    ]
    lines += ['| ' + ' | '.join(shown(row[column]) for column in columns) + ' |' for row in rows]
    write_text(folder / f'{name}.md', '\n'.join(lines) + '\n')
    if show:
        print('\n'.join(lines))


def shown(value: Any) -> str:
    """A cell: three digits of a number, 'low .. high' of a pair."""
    if isinstance(value, (list, tuple)):
        return ' .. '.join(shown(part) for part in value)
    if isinstance(value, float):
        return f'{value:.3g}'
    return '' if value is None else str(value)
