"""Who holds a run's folder: the record in its lock file, and whether that process lives."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import platform
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_reader import parse_json

NAME = '.lock'
MOST = 4096
"""Bytes of a lock file; a larger one is not ours."""
Owner = dict[str, Any]
"""`pid`, `host`, `since` for people; `started`, `boot`, `token` to tell processes apart."""


def sign_of_life(place: pathlib.Path) -> tuple[Any, ...] | None:
    """What changes with every sign of life; None if the file is gone."""
    try:
        # Opened anew each time: that is when a network file system looks at the server.
        handle = os.open(place / NAME, os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0))
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        return (found.st_dev, found.st_ino), found.st_mtime_ns, os.pread(handle, MOST, 0)
    finally:
        os.close(handle)


def refusal(place: pathlib.Path, owner: Owner) -> UserError:
    """What a second start is told."""
    who = 'another process'
    if owner:
        who = f'process {owner.get("pid")} on {owner.get("host")} since {owner.get("since")}'
    return UserError(f'{place} is in use by {who}; wait for it or choose another --workdir')


def owner_of(place: pathlib.Path) -> Owner:
    """Who the lock file in a folder names; {} if it is not there."""
    found = sign_of_life(place)
    return _parsed(found[-1]) if found else {}


def read_owner(handle: int) -> Owner:
    """Who the file names; {} if it is empty or holds nothing of ours."""
    try:
        return _parsed(os.pread(handle, MOST, 0))
    except OSError:
        return {}


def _parsed(data: bytes) -> Owner:
    try:
        owner = parse_json(data, NAME)
    except ValueError:
        return {}
    if not isinstance(owner, dict) or not isinstance(owner.get('host'), str):
        return {}
    # It is shown to people: what could do more than that to a terminal is left out.
    return {key: value for key, value in owner.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value.isprintable() and len(value) < 300
    return value is None or isinstance(value, int)


def write_owner(handle: int, token: str) -> None:
    """Names this process in the file."""
    owner = {
        'pid': os.getpid(),
        'host': platform.node(),
        'since': datetime.datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'started': _started(os.getpid()),
        'boot': boot(),
        'token': token,
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(owner).encode() + b'\n', 0)
    os.fsync(handle)


def alive(owner: Owner) -> bool:
    """Whether the process lives; a later one that got its number does not count."""
    pid = owner.get('pid')
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and belongs to someone else
        pass
    return owner.get('started') == _started(pid)


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; None where it is not known."""
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]
    except (OSError, IndexError):
        return None


def boot() -> str | None:
    """Names this start of this machine's kernel; None where it is not known."""
    try:
        return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return None
