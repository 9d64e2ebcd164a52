"""One process a run folder: a second start is refused, a dead owner's lock is taken over.

The lock is the kernel's (`flock` on `FOLDER/.lock`), so that it ends with its process however
that ends, kill -9 and power cuts included: no clean-up can be missed and no age has to be
guessed. The file says who holds it, for the message. Where the file system has no such locks, or
keeps them apart by machine (some network mounts), the owner named in the file decides: one of
this machine by whether its process lives, one of another by the heartbeat, a touch of the file
every HEARTBEAT seconds: after STALE seconds without one it counts as gone.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import pathlib
import platform
import threading
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json_reader import parse_json

NAME = '.lock'
HEARTBEAT = 20.0
STALE = 120.0
_log = logging.getLogger(__name__)
_HELD: dict[pathlib.Path, int] = {}
"""Folders that this process holds, with the lock's file descriptor."""


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str], enabled: bool = True) -> Iterator[None]:
    """Holds a run's folder, which is made if need be, for the length of a `with`.

    Within one process it may be nested. A folder that was made for the lock alone and is still
    empty at the end is removed again.

    Args:
      folder: of the run.
      enabled: False for processes of a run that are not its first: they write nothing.

    Raises:
      UserError: another process holds it; its pid, machine and start are named; or the folder
        cannot be written to.

    >>> import tempfile
    >>> with run_lock(tempfile.mkdtemp()) as held:
    ...     held is None
    True
    """
    place = pathlib.Path(folder).absolute().resolve()
    if not enabled or place in _HELD:
        yield
        return
    made = not place.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = _take(place)
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror or error}') from error
    _HELD[place] = handle
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(handle, ended), name='lock', daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        if _HELD.pop(place, None) is not None:  # a forked child has forgotten it
            # Unlinked while held: whoever opened the file meanwhile finds it gone and retries.
            with contextlib.suppress(OSError):
                os.unlink(place / NAME)
            os.close(handle)
            if made:
                with contextlib.suppress(OSError):
                    place.rmdir()


def _take(place: pathlib.Path) -> int:
    """The descriptor of the lock file, locked and with this process written into it."""
    path = place / NAME
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(handle, place, path)
            if not _same_file(handle, path):
                os.close(handle)
                continue
            _check_owner(handle, place, path, locked)
            _write_owner(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise
        return handle


def _lock(handle: int, place: pathlib.Path, path: pathlib.Path) -> bool:
    """Whether the kernel gave its lock; False where the file system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _refusal(place, path, _read_owner(handle)) from None
        return False
    return True


def _check_owner(handle: int, place: pathlib.Path, path: pathlib.Path, locked: bool) -> None:
    """Refuses if the file names an owner that may live, although the kernel let us in."""
    owner = _read_owner(handle)
    if not owner:
        return
    if owner.get('host') == platform.node():
        if not locked and _alive(owner):
            raise _refusal(place, path, owner)
        _log.warning(
            'process %s, which used %s since %s, ended without notice: going on from its last '
            'checkpoint',
            owner.get('pid'),
            place,
            owner.get('since'),
        )
        return
    # Ages by the file system's own clock: those of two machines may differ.
    before = os.fstat(handle).st_mtime
    os.utime(handle)
    age = os.fstat(handle).st_mtime - before
    if age < STALE:
        os.utime(handle, (before, before))
        raise _refusal(place, path, owner, f'; it is taken over {STALE:g} s after its last sign')
    _log.warning('%s on %s gave no sign for %.0f s: taking over', place, owner.get('host'), age)


def _refusal(
    place: pathlib.Path, path: pathlib.Path, owner: dict[str, Any], more: str = ''
) -> UserError:
    who = 'another process'
    if owner:
        who = f'process {owner.get("pid")} on {owner.get("host")} since {owner.get("since")}'
    return UserError(f'{place} is in use by {who}{more}; wait for it or choose another --workdir')


def _read_owner(handle: int) -> dict[str, Any]:
    """Who the file names; {} if it is empty or holds nothing of ours."""
    try:
        owner = parse_json(os.pread(handle, 4096, 0), NAME)
    except (ValueError, OSError):
        return {}
    if not isinstance(owner, dict):
        return {}
    # It is shown to people: what could do more than that to a terminal is left out.
    return {key: value for key, value in owner.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return value.isprintable() and len(value) < 300
    return value is None or isinstance(value, int)


def _write_owner(handle: int) -> None:
    owner = {
        'pid': os.getpid(),
        'host': platform.node(),
        'since': datetime.datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'started': _started(os.getpid()),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(owner).encode() + b'\n', 0)
    os.fsync(handle)


def _alive(owner: dict[str, Any]) -> bool:
    """Whether the process lives; a later one that got its number does not count."""
    pid = owner.get('pid')
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and belongs to someone else
        pass
    return owner.get('started') == _started(pid)


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; None where that is not told."""
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]
    except (OSError, IndexError):
        return None


def _same_file(handle: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _beat(handle: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(handle)


def _forget() -> None:
    # A forked child (a data worker, say) must not keep the lock beyond its parent's end.
    for handle in _HELD.values():
        with contextlib.suppress(OSError):
            os.close(handle)
    _HELD.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
