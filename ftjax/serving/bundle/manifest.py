"""bundle.json: the SHA-256 of every file of a bundle, with what made it. Checked before use.

A bundle is one flat folder. What its manifest does not name, a link, a file of another kind (a
pickle, say) or of another size or hash is refused before a byte of it is interpreted.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import pathlib
import re
import stat
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, shown
from ftjax.io.files.atomic import write_json
from ftjax.io.files.regular_files import open_regular
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import Integer, Kind, Table, Text, check_table

MANIFEST = 'bundle.json'
FORMAT, VERSION = 'ftjax bundle', 2
SUFFIXES = ('.json', '.md', '.safetensors', '.jaxexport')
"""Of the files that a bundle may hold; none of them is a program of Python's."""
LIMITS = JsonLimits(size=2**20, depth=8, duplicates=False)
MONTHS = datetime.timedelta(days=182)
"""For so long the makers of JAX promise that a later version runs an exported program."""
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}')
_KINDS: dict[str, Kind] = {
    'format': Text((FORMAT,)),
    'version': Integer(1, 2**31),
    'versions': Table(of=Text(longest=100)),
    'made': Text(longest=40),
    'guarantee_ends': Text(longest=40),
    'files': Table(of=Table()),
}
_ROW: dict[str, Kind] = {'sha256': Text(longest=64), 'bytes': Integer(0, 2**50)}


def write_manifest(
    folder: pathlib.Path, versions: Mapping[str, str], version: int = VERSION, **facts: Any
) -> str:
    """Names all files of a folder; returns the manifest's own SHA-256 (hex).

    `version` is the oldest of the format that says what the files say.
    """
    now = datetime.datetime.now(datetime.UTC)
    files = {}
    for path in sorted(folder.iterdir()):
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
        files[path.name] = {'sha256': digest, 'bytes': path.stat().st_size}
    write_json(
        folder / MANIFEST,
        {
            'format': FORMAT,
            'version': version,
            'made': now.isoformat(timespec='seconds'),
            'guarantee_ends': (now + MONTHS).date().isoformat(),
            'versions': dict(versions),
            **facts,
            'files': files,
        },
    )
    return manifest_digest(folder)


def manifest_digest(folder: pathlib.Path) -> str:
    """SHA-256 (hex) of the manifest, which names the bundle down to its last bit."""
    with open_regular(folder / MANIFEST) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def check_manifest(folder: pathlib.Path, sha256: str | None = None) -> dict[str, Any]:
    """The manifest of a folder whose files are all as it says.

    Args:
      folder: of the bundle.
      sha256: of the manifest, where it is known from elsewhere; None takes what is there.

    Raises:
      UserError: no bundle; a file is missing, changed, a link, or not named.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(
            f'{folder} is no bundle: it holds no {MANIFEST}; scripts/export.py makes one'
        )
    _check_plain(path)
    if sha256 is not None and manifest_digest(folder) != sha256.lower():
        raise UserError(
            f'{path} is not the one asked for: its SHA-256 starts with '
            f'{manifest_digest(folder)[:12]}, not {sha256[:12]}'
        )
    found = read_object(path, LIMITS)
    missing = [key for key in _KINDS if key not in found]
    if missing:
        raise UserError(f'{path}: {missing[0]} is missing')
    check_table(found, _KINDS, str(path))
    if found['version'] > VERSION:
        raise UserError(
            f'{path} has version {found["version"]} of the format, and this ftjax reads up to '
            f'{VERSION}; install a newer one'
        )
    rows = found['files']
    for name, row in rows.items():
        if file_name(name, str(path)) == MANIFEST:
            raise UserError(f'{path}: {shown(name)} is no name of a file of a bundle')
        if set(row) != set(_ROW):
            raise UserError(f'{path}: {name} needs sha256 and bytes')
        check_table(row, _ROW, f'{path}: {name}')
    others = sorted(p.name for p in folder.iterdir() if p.name not in {*rows, MANIFEST})
    if others:
        raise UserError(f'{folder} holds {shown(others[0])}, which {MANIFEST} does not name')
    for name, row in rows.items():
        _check_file(folder / name, row['sha256'], row['bytes'])
    return found


def file_name(name: str, where: str) -> str:
    """The name of a file that a bundle may hold; UserError, which begins with `where`, else."""
    if not _NAME.fullmatch(name):
        raise UserError(f'{where}: {shown(name)} is no name of a file of a bundle')
    if pathlib.PurePath(name).suffix not in SUFFIXES:
        raise UserError(
            f'{where}: {name} is a kind of file that no bundle holds; expected '
            f'{", ".join(SUFFIXES)}'
        )
    return name


def _check_file(path: pathlib.Path, sha256: str, size: int) -> None:
    _check_plain(path)
    try:
        with open_regular(path) as file:
            have = os.fstat(file.fileno()).st_size
            if have != size:
                raise UserError(f'{path} has {have} bytes; {MANIFEST} says {size}')
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror or error}') from error
    if digest != sha256:
        raise UserError(
            f'{path} is not the file that {MANIFEST} names: its SHA-256 starts with '
            f'{digest[:12]}, not {sha256[:12]}; it is damaged, or was changed'
        )


def _check_plain(path: pathlib.Path) -> None:
    """UserError for a link, or what is no file: a bundle leads nowhere else."""
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; {MANIFEST} names it') from None
    if not stat.S_ISREG(mode):
        what = 'a link' if stat.S_ISLNK(mode) else 'no plain file'
        raise UserError(f'{path} is {what}; a bundle holds plain files only')
