"""Which files of the user's own registered a run's parts, and how they are found again.

A run's folder keeps `parts.json`: of each file path, SHA-256 and what it registered. Whoever
opens the run runs such a file only if it is where it was, unchanged, outside the run's folder, and
a run of this user was made with it before; so no code that comes with a checkpoint runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import re
import runpy
from collections.abc import Sequence
from typing import Any

from ftjax import registry
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_json
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import ListOf, Table, Text, check_table

FILE = 'parts.json'
_ENTRY = {
    'path': Text(longest=4096),
    'sha256': Text(longest=64),
    'parts': ListOf(Text(longest=200)),
}


def remember(folder: pathlib.Path, config: object) -> None:
    """Writes `parts.json` of the user's files that registered what a config names, if any did."""
    named = set(re.findall(r'[\w.-]+', json.dumps(to_jsonable(config))))
    entries: list[dict[str, Any]] = []
    for file, sha256 in registry.FILES.items():
        own = registered(file)
        if named & {part.partition(' ')[2] for part in own}:
            entries.append({'path': file, 'sha256': sha256, 'parts': own})
    if not entries:
        return
    write_json(folder / FILE, {'files': entries})
    for entry in entries:
        with contextlib.suppress(OSError):  # a home that cannot be written to: --config it is then
            mark = mark_of(entry['path'], entry['sha256'])
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def registered(file: str) -> list[str]:
    """What a file has registered: 'optimizer mine'."""
    return [
        f'{kind} {name}'
        for kind, known in registry.PARTS.items()
        for name, part in known.items()
        if part.file == file
    ]


def mark_of(path: str, sha256: str) -> pathlib.Path:
    """The empty file that says that a run of this user was made with a file."""
    name = hashlib.sha256(f'{path}\n{sha256}'.encode()).hexdigest()
    return cache_folder() / 'own_parts' / name


def restore(folder: pathlib.Path, named: Sequence[str] = ()) -> None:
    """Registers what a run's folder says that it was made with; nothing where all is there.

    Args:
      folder: of the run.
      named: files that the user names, which are run in place of those of the run.

    Raises:
      UserError: a file has gone or changed, or is not known to this user; it names the flag.
    """
    for file in named:
        run_file(pathlib.Path(file))
    for entry in entries_of(folder):
        missing = [part for part in entry['parts'] if not is_registered(part)]
        if not missing:
            continue
        file, said = pathlib.Path(entry['path']), ', '.join(missing)
        why = why_not(file, entry['sha256'], folder)
        if why:
            raise UserError(
                f'{folder} was made with parts of {file} ({said}), which {why}; name the file '
                'that holds them: --config=FILE.py'
            )
        run_file(file)


def entries_of(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The files of `parts.json`; none where there is no such file."""
    file = folder / FILE
    if not file.exists():
        return []
    found = read_object(file)
    check_table(found, {'files': ListOf(Table())}, str(file))
    for entry in found.get('files', []):
        if not set(_ENTRY) <= set(entry):
            raise UserError(f'{file}: an entry of files lacks one of {", ".join(_ENTRY)}')
        check_table(entry, _ENTRY, str(file))
    return list(found.get('files', []))


def is_registered(part: str) -> bool:
    """Whether there is 'KIND NAME' already."""
    kind, _, name = part.partition(' ')
    return name in registry.PARTS.get(kind, {})


def why_not(file: pathlib.Path, sha256: str, folder: pathlib.Path) -> str:
    """Why a file is not run; '' if it may be."""
    if not file.is_file():
        return 'is gone'
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        return 'has changed since'
    if file.resolve().is_relative_to(folder.resolve()):
        return 'lies in the folder itself'
    return '' if mark_of(str(file), sha256).exists() else 'no run of yours was made with'


def run_file(file: pathlib.Path) -> None:
    """Runs a file, which registers its parts; UserError for what it raises."""
    try:
        runpy.run_path(str(file))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'{file}: {type(error).__name__}: {error}') from error
