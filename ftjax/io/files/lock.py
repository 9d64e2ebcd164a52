"""One process a run folder: a second start is refused, a dead owner's lock is taken over.

The lock is the kernel's (`flock`, on the folder itself and on `FOLDER/.lock`), so that it ends
with its process however that ends, kill -9 and power cuts included: no clean-up can be missed, and
removing `.lock` removes no lock. The file says who holds it, for the message. Where the file
system has no such locks, or keeps them apart by machine (some network mounts), the owner named in
the file decides: one of this machine by whether its process lives, one of another by signs of
life, a touch of the file every HEARTBEAT seconds. They are watched for, STALE seconds long, and
never dated: two machines need not agree on the time.

An owner asks before each write whether folder and file are still its own, and stops if not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import json
import logging
import os
import pathlib
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.owned_files import open_plain, owned
from ftjax.io.json.json_reader import parse_json

NAME = '.lock'
HEARTBEAT = 20.0
STALE = 120.0
LOOK = 1.0
"""Seconds between looks for a sign of life."""
_MOST = 4096  # bytes of a lock file; a larger one is not ours
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Held:
    """A folder that this process holds."""

    place: pathlib.Path
    file: int
    """Descriptor of the lock file."""
    folder: int | None
    """Descriptor of the folder, if the kernel gave its lock."""
    token: str
    """What this process wrote into the file, unlike any other."""

    def lost(self) -> str:
        """Why the folder is no longer this process's; empty while it is."""
        path = self.place / NAME
        if self.folder is not None and not _same(self.folder, self.place):
            return 'it was removed or replaced'
        if not _same(self.file, path):
            if os.path.lexists(path):
                return f'{NAME} in it is another file now'
            return '' if self.folder is not None else f'{NAME} in it was removed'
        if self.folder is None and _read_owner(self.file).get('token') != self.token:
            return f'{NAME} in it names another process now'
        return ''

    def check(self) -> None:
        """Raises UserError if another process may be writing to the folder."""
        why = self.lost()
        if why:
            raise UserError(
                f'{self.place} is no longer held by this run: {why} while it was going; it stops '
                'before it writes more, so that no two runs write to one folder'
            )

    def release(self) -> None:
        """Gives the folder back."""
        # Unlinked while held: whoever opened the file meanwhile finds it gone and retries.
        if _same(self.file, self.place / NAME):
            with contextlib.suppress(OSError):
                os.unlink(self.place / NAME)
        # Not by closing alone: a child that was forked just now has copies of the descriptors.
        for handle in (self.file, self.folder):
            if handle is not None:
                _unlock(handle)
        self.close()

    def close(self) -> None:
        """Closes the descriptors, and with the last copy of them the locks end."""
        for handle in (self.file, self.folder):
            if handle is not None:
                with contextlib.suppress(OSError):
                    os.close(handle)


_HELD: dict[pathlib.Path, Held] = {}


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str], enabled: bool = True) -> Iterator[None]:
    """Holds a run's folder, which is made if need be, for the length of a `with`.

    Within one process it may be nested. A folder that was made for the lock alone and is still
    empty at the end is removed again. Files in it are opened without following links out of it.

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
        held = _take(place)
    except OSError as error:
        raise UserError(f'cannot write to {folder}: {error.strerror or error}') from error
    _HELD[place] = held
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(held, ended), name='lock', daemon=True)
    beat.start()
    try:
        with owned(folder, held.check):
            yield
    finally:
        ended.set()
        beat.join()
        if _HELD.pop(place, None) is not None:  # a forked child has forgotten it
            held.release()
            if made:
                with contextlib.suppress(OSError):
                    place.rmdir()


def _take(place: pathlib.Path) -> Held:
    """Folder and lock file, locked, with this process written into the file."""
    while True:
        with contextlib.ExitStack() as undo:
            folder = lock_folder(place)
            if folder is not None:
                undo.callback(os.close, folder)
                if not _same(folder, place):
                    continue
            handle = open_plain(place / NAME, os.O_RDWR | os.O_CREAT)
            undo.callback(os.close, handle)
            if os.fstat(handle).st_size > _MOST:
                raise UserError(f'{place / NAME} is no lock of a run, and is left as it is')
            locked = _lock(handle, place)
            if not _same(handle, place / NAME) or not _is_free(handle, place, locked):
                continue
            held = Held(place, handle, folder, secrets.token_hex(8))
            _write_owner(handle, held.token)
            undo.pop_all()
        return held


def lock_folder(place: pathlib.Path) -> int | None:
    """The descriptor of a folder, locked until it is closed; None where folders cannot be.

    Raises:
      UserError: another process holds it.
    """
    if not hasattr(os, 'O_DIRECTORY'):  # Windows
        return None
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _lock(handle, place):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _lock(handle: int, place: pathlib.Path) -> bool:
    """Whether the kernel gave its lock; False where the file system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _refusal(place, _owner_of(place)) from None
        return False
    return True


def _unlock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


def _is_free(handle: int, place: pathlib.Path, locked: bool) -> bool:
    """Refuses if the file names an owner that may live, although the kernel gave us the lock.

    False if the file went away meanwhile: everything is to be looked at anew.
    """
    owner = _read_owner(handle)
    if not owner:
        return True
    here = owner.get('host') == platform.node()
    if here and not locked and _alive(owner):
        raise _refusal(place, owner)
    # The same kernel under another name: a container that was started anew, for instance.
    if here or (locked and owner.get('boot') and owner['boot'] == _boot()):
        _log.warning(
            'process %s, which used %s since %s, ended without notice: going on from its last '
            'checkpoint',
            owner.get('pid'),
            place,
            owner.get('since'),
        )
        return True
    return _shows_no_sign(place, owner)


def _shows_no_sign(place: pathlib.Path, owner: dict[str, Any]) -> bool:
    """Watches for a sign of life of an owner on another machine; refuses at the first.

    False if the file is not what it was: its owner ended, or another process came first.
    """
    who = f'process {owner.get("pid")} on {owner.get("host")}'
    _log.warning(
        '%s names %s as its user: watching for a sign of life from it, %g s at most',
        place,
        who,
        STALE,
    )
    before, end = _sign(place), time.monotonic() + STALE
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(LOOK, left))
        now = _sign(place)
        if now is None or before is None or now[0] != before[0]:
            return False
        if now != before:
            raise _refusal(place, owner)
    _log.warning('%s gave no sign of life for %g s: taking over', who, STALE)
    return True


def _sign(place: pathlib.Path) -> tuple[Any, ...] | None:
    """What changes with every sign of life; None if the file is gone."""
    try:
        # Opened anew each time: that is when a network file system looks at the server.
        handle = os.open(place / NAME, os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0))
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        return (found.st_dev, found.st_ino), found.st_mtime_ns, os.pread(handle, _MOST, 0)
    finally:
        os.close(handle)


def _refusal(place: pathlib.Path, owner: dict[str, Any]) -> UserError:
    who = 'another process'
    if owner:
        who = f'process {owner.get("pid")} on {owner.get("host")} since {owner.get("since")}'
    return UserError(f'{place} is in use by {who}; wait for it or choose another --workdir')


def _owner_of(place: pathlib.Path) -> dict[str, Any]:
    """Who the lock file in a folder names; {} if it is not there."""
    found = _sign(place)
    return _parsed(found[-1]) if found else {}


def _read_owner(handle: int) -> dict[str, Any]:
    """Who the file names; {} if it is empty or holds nothing of ours."""
    try:
        return _parsed(os.pread(handle, _MOST, 0))
    except OSError:
        return {}


def _parsed(data: bytes) -> dict[str, Any]:
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


def _write_owner(handle: int, token: str) -> None:
    owner = {
        'pid': os.getpid(),
        'host': platform.node(),
        'since': datetime.datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'started': _started(os.getpid()),
        'boot': _boot(),
        'token': token,
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(owner).encode() + b'\n', 0)
    os.fsync(handle)


def _alive(owner: dict[str, Any]) -> bool:
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


def _boot() -> str | None:
    """Names this start of this machine's kernel; None where it is not known."""
    try:
        return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return None


def _same(handle: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _beat(held: Held, ended: threading.Event) -> None:
    told = False
    while not ended.wait(HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(held.file)
        if not told and (why := held.lost()):
            told = True
            _log.error('%s: %s; this run stops at its next write', held.place, why)


def _forget() -> None:
    # A forked child (a data worker, say) must not keep the lock beyond its parent's end.
    for held in _HELD.values():
        held.close()
    _HELD.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)
