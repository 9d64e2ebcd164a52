"""Whether there is something at a path, whatever was written there."""

from __future__ import annotations

import errno
import os
import pathlib


def existing(text: str) -> pathlib.Path | None:
    r"""The path that a text names, `~` put in; None if nothing is or can be there.

    >>> existing('x' * 10_000) is existing('~nosuchuser/x') is existing('a\0b') is None
    True
    """
    try:
        path = pathlib.Path(text).expanduser()
    except (RuntimeError, ValueError):  # there is, or can be, no such user
        return None
    return path if is_possible(path) and path.exists() else None


def is_possible(path: str | os.PathLike[str]) -> bool:
    """Whether a file system can be asked for a path: it is not too long and has no NUL."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    except ValueError:
        return False
    return True
