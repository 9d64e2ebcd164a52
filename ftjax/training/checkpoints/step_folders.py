"""The folder of checkpoints around Orbax: steps replaced and removed, remains, errors of a save.

What is not to stay gets a name of Orbax's for half-written checkpoints first: a kill in the middle
leaves nothing that looks like a damaged one.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Collection, Iterator

from ftjax.distributed import process_group
from ftjax.errors import UserError
from ftjax.io.files.owned_files import check_way

_log = logging.getLogger(__name__)
_HALF, _OLD = '.orbax-checkpoint-tmp', 'replaced-'
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def prepare(folder: pathlib.Path) -> None:
    """Makes the folder, and clears away what a kill in the middle of a save left in it."""
    check_way(folder, itself=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            check_way(path, itself=True)
            if _HALF in path.name:
                _log.warning('removing a half-written checkpoint: %s', path)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, 'Permission denied')
        tidy(folder)
    except OSError as error:
        told = f'cannot write checkpoints to {folder}: {error.strerror or error}'
        raise UserError(told) from error


def seen_by_all(folder: pathlib.Path) -> bool:
    """Whether each of several processes finds the first one's folder at the same place."""
    if not process_group.several():
        return False
    number = process_group.from_first(lambda: folder.stat().st_ino)
    return not process_group.largest(not folder.exists() or folder.stat().st_ino != number)


def make_way(place: pathlib.Path, size: int) -> None:
    """Renames a checkpoint that is about to be written again; it stays until the new one is."""
    free = shutil.disk_usage(place.parent).free
    if free < size + 2**20:  # some room for metadata; arrays rarely compress
        raise OSError(errno.ENOSPC, f'{size / 2**20:.1f} MB wanted, {free / 2**20:.1f} free')
    if process_group.first() and place.exists():  # the others wait for it in Orbax
        os.replace(place, place.with_name(f'{_OLD}{place.name}'))


def set_aside(folder: pathlib.Path, step: int) -> None:
    """Renames a damaged checkpoint to `damaged-STEP`, so that a run can write that step again."""
    more = itertools.chain([''], map('-{}'.format, itertools.count(2)))
    names = (folder / f'damaged-{step}{number}' for number in more)
    os.replace(folder / str(step), next(name for name in names if not name.exists()))


def tidy(folder: pathlib.Path, surplus: Collection[int] = ()) -> None:
    """Removes remains and surplus steps; puts a replaced step back where no new one is there."""
    for step in surplus:
        os.replace(folder / str(step), folder / f'{step}{_HALF}-removed')
    for old in folder.glob(f'{_OLD}*'):
        target = folder / old.name.removeprefix(_OLD)
        os.replace(old, folder / f'{old.name}{_HALF}' if target.exists() else target)
    for half in folder.glob(f'*{_HALF}*'):
        shutil.rmtree(half, ignore_errors=True)


@contextlib.contextmanager
def guarded(folder: pathlib.Path, step: int) -> Iterator[None]:
    """Whatever fails inside, the folder holds whole checkpoints; UserError for a full disk."""
    try:
        yield
    except Exception as error:
        check_way(folder, itself=True)  # whoever took it meanwhile is named, not hindered
        for _ in range(20 if process_group.first() else 0):
            tidy(folder)
            time.sleep(0.05)  # Orbax's threads go on writing for a moment
            if not any(folder.glob(f'*{_HALF}*')):
                break
        gc.collect()  # failed tasks complain when they are collected
        text = ' '.join(str(error).split())
        # Of TensorStore's errors only the text says what it is.
        codes = {code for code in _FULL | _CLOSED if os.strerror(code).lower() in text.lower()}
        codes |= {error.errno or 0} if isinstance(error, OSError) else set()
        if not codes:
            raise
        told = f' ({error.strerror})' if isinstance(error, OSError) else ''
        why = f'the disk is full{told}' if codes & _FULL else text[:160]
        raise UserError(
            f'cannot save the checkpoint of step {step} in {folder}: {why}; the earlier '
            'checkpoints are untouched'
        ) from error
