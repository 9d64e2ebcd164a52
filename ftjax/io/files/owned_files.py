"""Files of a folder that a run owns: no link leads out of it, and each is whole or as it was.

A process that writes to a folder says so with `owned(folder)`. From then on whatever opens or
writes a file below it through this module refuses a link that leads out of the folder, and asks
first whether the folder still belongs to the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import stat
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Owned:
    named: pathlib.Path
    """Absolute, as the user named it: links on the way to the folder itself are the user's."""
    real: pathlib.Path
    check: Callable[[], None]


_OWNED: list[_Owned] = []


@contextlib.contextmanager
def owned(
    folder: str | os.PathLike[str], check: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Within it files below `folder` are opened without following links out of it.

    Args:
      folder: that this process writes to.
      check: raises UserError once the folder is no longer this process's.
    """
    named = pathlib.Path(os.path.abspath(folder))
    one = _Owned(named, pathlib.Path(os.path.realpath(folder)), check)
    _OWNED.append(one)
    try:
        yield
    finally:
        if one in _OWNED:  # a forked child has forgotten it
            _OWNED.remove(one)


def check_way(path: str | os.PathLike[str], *, itself: bool = False) -> None:
    """UserError where a link leads out of the owned folder that `path` lies in.

    Args:
      path: a file about to be written; paths outside owned folders are not checked.
      itself: whether the last part of the path, too, would be followed if it is a link.
    """
    place = pathlib.Path(os.path.abspath(path))
    for one in reversed(_OWNED):
        if not (place.is_relative_to(one.named) or place.is_relative_to(one.real)):
            continue
        one.check()
        if place in (one.named, one.real):
            return
        real = os.path.realpath(place if itself else place.parent)
        if not pathlib.Path(real).is_relative_to(one.real):
            raise UserError(
                f'{path} leads out of {one.named} through a link, to {real}: it is neither read '
                'nor written; remove the link'
            )
        return


def open_plain(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """`os.open` of a plain file: UserError where the path is a link, a pipe or a device.

    A hard link of a file that has another name too is refused like a symbolic one.
    """
    check_way(path)
    # Without O_NONBLOCK a pipe would wait for somebody at its other end.
    flags |= getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
    try:
        handle = os.open(path, flags, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or os.path.islink(path):
            where = os.path.realpath(path)
            raise UserError(
                f'{path} is a link, to {where}: it is not written through; remove the link'
            ) from error
        raise
    found = os.fstat(handle)
    what = ''
    if not stat.S_ISREG(found.st_mode):
        what = 'is no plain file'
    elif found.st_nlink > 1:
        what = 'is a second name (a hard link) of another file'
    if what:
        os.close(handle)
        raise UserError(f'{path} {what}: it is not written to; remove it')
    return handle


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write into that replaces `path` at the end; on any failure nothing changes.

    Raises:
      UserError: the folder cannot be written to, or the disk is full.
    """
    target = pathlib.Path(path)
    check_way(target)
    beside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The same folder, because a rename across file systems is a copy and can tear.
        handle, beside = tempfile.mkstemp(prefix=f'.{target.name}.', dir=target.parent)
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise UserError(f'cannot write {target}: {error.strerror or error}') from error
    finally:
        if beside is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: pathlib.Path) -> None:
    # A rename is durable once the folder is; some file systems refuse to sync a folder.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_OWNED.clear)
