"""The kernel's lock of a file or a folder: it ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from ftjax.io.files.lock_owner import owner_of, refusal


def lock_folder(place: pathlib.Path) -> int | None:
    """The descriptor of a folder, locked until it is closed; None where folders cannot be.

    Raises:
      UserError: another process holds it.
    """
    if not hasattr(os, 'O_DIRECTORY'):  # Windows
        return None
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if lock(handle, place):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def lock(handle: int, place: pathlib.Path) -> bool:
    """Whether the kernel gave its lock; False where the file system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise refusal(place, owner_of(place)) from None
        return False
    return True


def unlock(handle: int) -> None:
    """Gives the lock back, for all copies of the descriptor."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextlib.contextmanager
def waited_for(path: pathlib.Path) -> Iterator[None]:
    """Holds the kernel's lock of a file, made for it and removed after, once others gave it back.

    Where there is no such lock, or no such file can be made, nobody waits for anybody.
    """
    handle = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        while handle is None:
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX)
                if same(opened, path):  # else the one before removed it
                    handle = opened
            finally:
                if handle is None:
                    os.close(opened)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            unlock(handle)  # a child that was forked meanwhile has a copy of the descriptor
            os.close(handle)


def same(handle: int, path: pathlib.Path) -> bool:
    """Whether a descriptor is still that of the file at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except OSError:
        return False
