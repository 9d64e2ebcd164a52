"""SHA-256 of whole files, remembered: a file that has not changed is read once.

A file is known again by device, inode, size, mtime and ctime, all in nanoseconds where the file
system has them. Whoever writes to a file moves its ctime, and cannot set it back. What is
remembered lies in `file_hashes.sqlite` in the cache folder; where that cannot be read or written,
files are hashed again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import logging
import os
import pathlib
import stat
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger(__name__)
T = TypeVar('T')
State = tuple[int, int, int, int, int]
"""Device, inode, size, mtime, ctime."""
SETTLED = 2.0
"""Seconds since the last change after which a hash is remembered: a clock that counts whole
seconds would not show a second change soon after the first."""
LONG = 2**30
"""For files of at least so many bytes a message says that they are hashed."""
_KNOWN: dict[State, str] = {}


def file_hashes(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """SHA-256 (hex) of each of some files, over all their bytes.

    Raises:
      UserError: a file that is not there, cannot be read, or is no file.
    """
    states = [file_state(path) for path in paths]
    places = dict(zip(states, paths, strict=True))
    _KNOWN.update(_remembered([state for state in places if state not in _KNOWN]))
    missing = [state for state in places if state not in _KNOWN]
    size = sum(state[2] for state in missing)
    if size > LONG:
        _log.info(
            'hashing %d files (%.1f GB): once, their hashes are kept', len(missing), size / 1e9
        )
    found = _hashed({state: places[state] for state in missing}) if missing else {}
    settled = {s: x for s, x in found.items() if max(s[3], s[4]) < (time.time() - SETTLED) * 1e9}
    _KNOWN.update(settled)
    _remember(settled)
    return [_KNOWN.get(state) or found[state] for state in states]


def file_state(path: str | os.PathLike[str]) -> State:
    """By which a file that has not changed is known again.

    Raises:
      UserError: a file that is not there, or is no file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f'{path}: expected a file')
    return _state(found)


def _state(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hashed(places: Mapping[State, str | os.PathLike[str]]) -> dict[State, str]:
    """Hashes of files by the state that they were found in."""

    def one(path: str | os.PathLike[str]) -> tuple[bool, str]:
        try:
            with open(path, 'rb') as file:
                before = os.fstat(file.fileno())
                digest = hashlib.file_digest(file, 'sha256').hexdigest()
                return _state(before) == _state(os.fstat(file.fileno())), digest
        except OSError as error:
            raise _unreadable(path, error) from error

    found = {}
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for (state, path), (still, digest) in zip(
            places.items(), pool.map(one, places.values()), strict=True
        ):
            if not still:
                raise UserError(f'{path}: written to while it was read; try again')
            found[state] = digest
    return found


def _unreadable(path: str | os.PathLike[str], error: Exception) -> UserError:
    reason = getattr(error, 'strerror', None) or error
    return UserError(f'{path}: cannot be read ({reason}); was it moved?')


def _remembered(states: Sequence[State]) -> dict[State, str]:
    """What an earlier process has kept of some files; rows that are damaged are left out."""
    if not states or not _place().exists():
        return {}

    def read(base: sqlite3.Connection) -> dict[State, str]:
        found = {}
        for state in states:
            key = _key(state)
            row = base.execute('SELECT sha256, crc FROM files WHERE state = ?', (key,)).fetchone()
            if row is not None and row[1] == _crc(key, row[0]):
                found[state] = row[0]
        return found

    return _in_database(read) or {}


def _remember(found: Mapping[State, str]) -> None:
    rows = [(key, sha, _crc(key, sha)) for key, sha in ((_key(s), x) for s, x in found.items())]
    if rows:
        _in_database(
            lambda base: base.executemany('INSERT OR REPLACE INTO files VALUES (?, ?, ?)', rows)
        )


def _in_database(work: Callable[[sqlite3.Connection], T]) -> T | None:
    """What `work` returns; None where the file does not serve, a damaged one is removed."""
    import sqlite3  # only a run on files remembers hashes

    try:
        _place().parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(_place(), timeout=10)) as base, base:
            base.execute('PRAGMA synchronous = OFF')  # what is lost is hashed again
            base.execute(
                'CREATE TABLE IF NOT EXISTS files '
                '(state TEXT PRIMARY KEY, sha256 TEXT, crc INTEGER) WITHOUT ROWID'
            )
            return work(base)
    except (sqlite3.Error, OSError) as error:
        _log.info('hashes of files are not kept: %s: %s', _place(), error)
        # Others are of the moment: a lock, a full disk, a folder that is read only.
        if not isinstance(error, sqlite3.OperationalError | OSError):
            with contextlib.suppress(OSError):
                _place().unlink()
        return None


def _place() -> pathlib.Path:
    return cache_folder() / 'file_hashes.sqlite'


def _key(state: State) -> str:
    return ':'.join(map(str, state))


def _crc(key: str, sha256: object) -> int:
    return zlib.crc32(f'{key} {sha256}'.encode())
