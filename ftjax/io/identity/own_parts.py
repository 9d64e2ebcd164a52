"""Which files of the user's own registered a run's parts, and how they are found again.

A run's folder keeps `parts.json`: of each file path, SHA-256 and what it registered. Whoever
opens the run runs such a file only if it is where it was, unchanged, outside the run's folder, and
a run of this user was made with it before; so no code that comes with a checkpoint runs. Where a
part of the same name is there already, it has to come from that file, or from one that the user
named.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import runpy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftjax import registry
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_json
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.identity.source_code import code_identity
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import ListOf, Table, Text, check_table

FILE = 'parts.json'
_log = logging.getLogger(__name__)
_RUNNING: list[str] = []
"""Files that are being run for their parts."""
_NAMED: set[str] = set()
"""Files whose parts are there because the user named them, or a file that imports them."""
_ENTRY = {
    'path': Text(longest=4096),
    'sha256': Text(longest=64),
    'parts': ListOf(Text(longest=200)),
}
_CODE = {'code': Table(Text(longest=200))}
"""Hashes of its parts' code and the Python that they hold for; not in files before 0.3."""


def named_in(*values: object) -> set[str]:
    """Every word of configs and their like that may be the name of a part.

    >>> sorted(named_in({'freeze': 'last:1+größe'}))
    ['1', 'freeze', 'größe', 'last']
    """
    return set(re.findall(r'[\w.-]+', json.dumps(to_jsonable(values), ensure_ascii=False)))


def remember(folder: pathlib.Path, *values: object) -> None:
    """Writes `parts.json` of the user's files that registered what a run names, if any did.

    Args:
      folder: of the run.
      *values: its config, and what else of it names parts: the description of its network.
    """
    entries: list[dict[str, Any]] = []
    for file in files_of(*values):
        own, sha256 = registered(file), registry.FILES[file]
        entries.append({'path': file, 'sha256': sha256, 'parts': own, 'code': _code(own)})
    if not entries:
        return
    write_json(folder / FILE, {'files': entries})
    for entry in entries:
        with contextlib.suppress(OSError):  # a home that cannot be written to: --config it is then
            mark = mark_of(entry['path'], entry['sha256'])
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def files_of(*values: object) -> list[str]:
    """The user's files that registered what a config and its like name."""
    named = named_in(*values)
    return [
        file
        for file in registry.FILES
        if named & {part.partition(' ')[2] for part in registered(file)}
    ]


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
      UserError: a file has gone or changed, is not known to this user, or does not register its
        parts any more; a part of the name comes from another file. It names the flag.
    """
    for file in named:
        before = _there()
        run_file(file)
        _NAMED.update(part.file for key, part in _there().items() if part is not before.get(key))
    for entry in entries_of(folder):
        file = pathlib.Path(entry['path'])
        for part in entry['parts']:
            other = _other_file(part, entry)
            if other:
                raise UserError(
                    f'{folder} was made with {part!r} of {file}, and here it is that of {other}; '
                    'open the run in a process of its own, or give one of the two another name'
                )
        missing = [part for part in entry['parts'] if part not in _there()]
        if not missing:
            continue
        said = ', '.join(missing)
        why = why_not(file, entry['sha256'], folder)
        if why:
            raise UserError(
                f'{folder} was made with parts of {file} ({said}), which {why}; name the file '
                'that holds them: --config=FILE.py'
            )
        run_file(file)
        missing = [part for part in entry['parts'] if part not in _there()]
        if missing:
            raise UserError(
                f'{folder} was made with {", ".join(missing)}, which {file} registered then, and '
                'does not when it is run alone; name a file that does: --config=FILE.py'
            )


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
        check_table(entry, {**_ENTRY, **_CODE}, str(file))
    return list(found.get('files', []))


def _there() -> dict[str, registry.Part]:
    """Every part by 'KIND NAME'."""
    return {
        f'{kind} {name}': part
        for kind, known in registry.PARTS.items()
        for name, part in known.items()
    }


def _code(parts: Sequence[str]) -> dict[str, Any]:
    """Hashes of the code of parts that are there, and the Python that they hold for."""
    there = _there()
    found = code_identity({part: there[part].function for part in parts})
    made = f'{found.get("python")}, {found.get("rules")}'
    return {'python': made, **cast('dict[str, str]', found['parts'])} if found else {}


def _other_file(part: str, entry: Mapping[str, Any]) -> str:
    """The file that a part comes from, where neither that nor its code is the run's; else ''.

    Where the run's file is gone, one of another place is taken for it: it has moved.
    """
    found, file = _there().get(part), entry['path']
    if found is None or found.file in _NAMED or not os.path.isfile(file):
        return ''
    if found.file == os.path.realpath(file) or registry.FILES.get(found.file) == entry['sha256']:
        return ''
    now, before = _code([part]), entry.get('code', {})
    same = bool(now) and all(now[key] == before.get(key) for key in now)
    return '' if same else found.file


def why_not(file: pathlib.Path, sha256: str, folder: pathlib.Path) -> str:
    """Why a file is not run; '' if it may be."""
    if not file.is_file():
        return 'is gone'
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        return 'has changed since'
    if file.resolve().is_relative_to(folder.resolve()):
        return 'lies in the folder itself'
    return '' if mark_of(str(file), sha256).exists() else 'no run of yours was made with'


class _Registered(UserError):
    """A file that is run for its parts comes to its first training: there it ends."""


def run_file(file: str | os.PathLike[str]) -> None:
    """Runs a file, up to its first training: it registers its parts.

    UserError for what it raises.
    """
    _RUNNING.append(os.fspath(file))
    try:
        runpy.run_path(os.fspath(file))
    except _Registered as end:
        _log.info('%s', end)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'{file}: {type(error).__name__}: {error}') from error
    finally:
        _RUNNING.pop()


def check_trains() -> None:
    """Ends a file here that is run for the parts it registers: it is to train nothing."""
    if _RUNNING:
        raise _Registered(
            f'{_RUNNING[-1]} is run for the parts that it registers, and ends where it trains; '
            "put that below if __name__ == '__main__'"
        )
