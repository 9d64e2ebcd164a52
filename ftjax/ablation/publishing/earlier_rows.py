"""Rows that a URL holds come into a folder that lacks them: a machine goes on where one was lost.

Rows are appended alone. So of a folder and its copy, one begins with all that the other holds;
where that is not so they are of two ablations or of two processes, and neither is touched.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping

from ftjax.ablation.cells.task_grids import check_config
from ftjax.ablation.cells.tasks import tasks_to_run
from ftjax.ablation.grid import claim
from ftjax.ablation.grid.rows import read_rows
from ftjax.ablation.publishing.published_files import (
    NOTES,
    ROWS,
    named,
    places_of,
    whole_lines,
)
from ftjax.ablation.settings import AblationSettings
from ftjax.config import merged
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_bytes
from ftjax.io.files.lock import run_lock
from ftjax.io.files.url_folder import UrlFolder
from ftjax.io.json.jsonl import JsonLines

OTHER = 'choose another --publish'


def fetch_rows(
    remote: UrlFolder,
    folder: pathlib.Path,
    values: Mapping[str, object],
    settings: AblationSettings,
    only: str = '',
) -> None:
    """Brings the folder of each task to the rows of its copy, where that holds more.

    Args:
      remote: the copy of the folder; there may be none yet.
      folder: of the ablation.
      values: the config as plain dicts, without its section `ablation`.
      settings: that section.
      only: the one task that is run; '' for all.

    Raises:
      UserError: the copy is of another ablation, is not readable, or holds other rows than the
        folder; the folder is as it was.
    """
    places = places_of(settings, only)
    if '' not in places and remote.read(claim.FILE) is not None:
        raise UserError(f'{remote.url} holds an ablation without tasks; {OTHER}')
    todo = tasks_to_run(settings, only)
    for task, place in places.items():
        name = named(place, ROWS)
        rows, there = folder / name, whole_lines(remote.read(name) or b'')
        here = whole_lines(rows.read_bytes()) if rows.is_file() else b''
        _check_origin(here, there, rows, f'{remote.url}/{name}')
        if len(there) <= len(here):
            continue
        notes = {file: remote.read(named(place, file)) for file in NOTES}
        found = {file: data for file, data in notes.items() if data is not None}
        _check_grid(found, there, merged(values, todo[task]), settings, remote.url)
        with run_lock(rows.parent):
            with JsonLines(rows):
                pass  # what a kill left of a last line is repaired, and may be a row more
            here = rows.read_bytes()
            _check_origin(here, there, rows, f'{remote.url}/{name}')
            # Rows come last: without them all is fetched again.
            for file, data in {**found, ROWS: there}.items():
                write_bytes(rows.parent / file, data)
        count = there.count(b'\n') - here.count(b'\n')
        print(f'rows fetched from {remote.url}/{name}: {count}', flush=True)


def _check_origin(here: bytes, there: bytes, rows: pathlib.Path, copy: str) -> None:
    if here.startswith(there) or there.startswith(here):
        return
    pairs = zip(here.split(b'\n'), there.split(b'\n'), strict=False)
    line = next(number for number, (one, other) in enumerate(pairs, 1) if one != other)
    raise UserError(
        f'{rows} and {copy} hold different rows from line {line} on; neither is changed; {OTHER}, '
        'or an empty --workdir to go on from the rows there'
    )


def _check_grid(
    notes: Mapping[str, bytes],
    rows: bytes,
    values: Mapping[str, object],
    settings: AblationSettings,
    url: str,
) -> None:
    if claim.FILE not in notes:
        raise UserError(
            f'{url} holds rows and no {claim.FILE} beside them to say of which config, as where '
            f'an ablation of several tasks put all of them together; {OTHER}'
        )
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        for file, data in {**notes, ROWS: rows}.items():
            write_bytes(place / file, data)
        check_config(values, settings, place, named=url, other=OTHER)
        try:
            read_rows(place / ROWS)
        except UserError as error:
            raise UserError(f'{url}: {str(error).replace(f"{place}/", "")}; {OTHER}') from None
