"""One process a run folder: a second start is refused, a dead owner's lock is taken over.

The lock is the kernel's (`flock`, on the folder itself and on `FOLDER/.lock`), so that it ends
with its process however that ends, kill -9 and power cuts included: no clean-up can be missed, and
removing `.lock` removes no lock. The file says who holds it, for the message. Where the file
system has no such locks, or keeps them apart by machine (some network mounts), the owner named in
the file decides: one of this machine by whether its process lives, one of another by signs of
life, a touch of the file every HEARTBEAT seconds. They are watched for, STALE seconds long, and
never dated: two machines need not agree on the time.

An owner asks before each write whether folder and file are still its own, and stops if not.

Why not `filelock` (4.2.11, tried on Linux): while its lock is held and `.lock` is removed, a second
start gets the lock; its file does not name the owner; and an owner that lost it is not told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import platform
import secrets
import threading
import time
from collections.abc import Iterator

from ftjax.errors import UserError
from ftjax.io.files.kernel_lock import lock, lock_folder, same, unlock
from ftjax.io.files.lock_owner import (
    MOST,
    NAME,
    Owner,
    alive,
    boot,
    read_owner,
    refusal,
    sign_of_life,
    write_owner,
)
from ftjax.io.files.owned_files import open_plain, owned

HEARTBEAT = 20.0
STALE = 120.0
LOOK = 1.0
"""Seconds between looks for a sign of life."""
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
        if self.folder is not None and not same(self.folder, self.place):
            return 'it was removed or replaced'
        if not same(self.file, path):
            if os.path.lexists(path):
                return f'{NAME} in it is another file now'
            return '' if self.folder is not None else f'{NAME} in it was removed'
        if self.folder is None and read_owner(self.file).get('token') != self.token:
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
        if same(self.file, self.place / NAME):
            with contextlib.suppress(OSError):
                os.unlink(self.place / NAME)
        # Not by closing alone: a child that was forked just now has copies of the descriptors.
        for handle in (self.file, self.folder):
            if handle is not None:
                unlock(handle)
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
                if not same(folder, place):
                    continue
            handle = open_plain(place / NAME, os.O_RDWR | os.O_CREAT)
            undo.callback(os.close, handle)
            if os.fstat(handle).st_size > MOST:
                raise UserError(f'{place / NAME} is no lock of a run, and is left as it is')
            locked = lock(handle, place)
            if not same(handle, place / NAME) or not _is_free(handle, place, locked):
                continue
            held = Held(place, handle, folder, secrets.token_hex(8))
            write_owner(handle, held.token)
            undo.pop_all()
        return held


def _is_free(handle: int, place: pathlib.Path, locked: bool) -> bool:
    """Refuses if the file names an owner that may live, although the kernel gave us the lock.

    False if the file went away meanwhile: everything is to be looked at anew.
    """
    owner = read_owner(handle)
    if not owner:
        return True
    here = owner.get('host') == platform.node()
    if here and not locked and alive(owner):
        raise refusal(place, owner)
    # The same kernel under another name: a container that was started anew, for instance.
    if here or (locked and owner.get('boot') and owner['boot'] == boot()):
        _log.warning(
            'process %s, which used %s since %s, ended without notice: going on from its last '
            'checkpoint',
            owner.get('pid'),
            place,
            owner.get('since'),
        )
        return True
    return _gives_no_sign(place, owner)


def _gives_no_sign(place: pathlib.Path, owner: Owner) -> bool:
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
    before, end = sign_of_life(place), time.monotonic() + STALE
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(LOOK, left))
        now = sign_of_life(place)
        if now is None or before is None or now[0] != before[0]:
            return False
        if now != before:
            raise refusal(place, owner)
    _log.warning('%s gave no sign of life for %g s: taking over', who, STALE)
    return True


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
