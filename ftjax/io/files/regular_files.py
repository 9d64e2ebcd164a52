"""Opening files that others may have put there: regular files only, never a pipe or a device.

A pipe (FIFO) would make the reader wait for ever, and a device has no end.
"""

from __future__ import annotations

import errno
import io
import os
import stat


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Opens a regular file, or a link to one, for reading.

    Raises:
      OSError: it cannot be opened; or it is a folder, a pipe, a socket or a device.
    """
    _check(os.stat(path).st_mode, path)  # before opening: opening a device may do something
    # Without waiting, in case it was replaced by a pipe meanwhile.
    handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    try:
        _check(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, 'rb')
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """What a regular file holds; OSError also for more than `limit` bytes."""
    with open_regular(path) as file:
        # Before reading; what the file system says of a size can be wrong, so that it is asked
        # for one byte more than is wanted.
        if os.fstat(file.fileno()).st_size > limit or len(data := file.read(limit + 1)) > limit:
            raise OSError(errno.EFBIG, f'it has more than {limit} bytes', os.fspath(path))
        return data


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a pipe', stat.S_IFSOCK: 'a socket'}
    kind = kinds.get(stat.S_IFMT(mode), 'a device')
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, f'it is {kind}, and a regular file was expected', os.fspath(path))
