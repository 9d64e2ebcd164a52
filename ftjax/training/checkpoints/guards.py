"""Around the checkpoints' folder: remains of a kill, one that is replaced, errors of a save."""

from __future__ import annotations

import errno
import gc
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterable

from ftjax.errors import UserError
from ftjax.io.files.owned_files import check_way

_log = logging.getLogger(__name__)
_HALF, _OLD = '*orbax-checkpoint-tmp*', 'replaced-'
_FULL = ('no space left', 'file too large', 'quota exceeded')
_CLOSED = ('read-only file system', 'permission denied', 'operation not permitted')


def prepare_folder(folder: pathlib.Path) -> None:
    """Makes the folder, and clears away what a kill in the middle of a save left in it.

    Raises:
      UserError: it cannot be made or written to, or a link leads out of the run's folder.
    """
    check_way(folder, itself=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            check_way(path, itself=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, 'Permission denied')
        for half in folder.glob(_HALF):
            _log.warning('removing a half-written checkpoint: %s', half)
            shutil.rmtree(half)
        put_back(folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f'cannot write checkpoints to {folder}: {reason}') from error


def check_room(folder: pathlib.Path, size: int) -> None:
    """OSError where so many bytes do not fit on the disk; arrays rarely compress."""
    free = shutil.disk_usage(folder).free
    if free < size + 2**20:  # some room for metadata
        raise OSError(errno.ENOSPC, f'{size / 2**20:.1f} MB wanted, {free / 2**20:.1f} free')


def put_away(folder: pathlib.Path, step: int) -> None:
    """Renames a checkpoint that is about to be written again; it stays until the new one is."""
    shutil.rmtree(folder / f'{_OLD}{step}', ignore_errors=True)
    os.replace(folder / str(step), folder / f'{_OLD}{step}')


def put_back(folder: pathlib.Path) -> None:
    """Removes checkpoints that were replaced, and puts those back that were not."""
    for old in folder.glob(f'{_OLD}*'):
        target = folder / old.name.removeprefix(_OLD)
        if target.exists():
            shutil.rmtree(old)
        else:
            os.replace(old, target)


def remove(folder: pathlib.Path, steps: Iterable[int]) -> None:
    """Removes checkpoints; what a kill leaves of one is taken for half written."""
    for step in steps:
        half = folder / f'{step}.removed.orbax-checkpoint-tmp'
        os.replace(folder / str(step), half)
        shutil.rmtree(half)


def set_aside(folder: pathlib.Path, step: int) -> None:
    """Renames a damaged checkpoint to `damaged-STEP`, so that a run can write that step again."""
    target, count = folder / f'damaged-{step}', 1
    while target.exists():
        count += 1
        target = folder / f'damaged-{step}-{count}'
    try:
        os.replace(folder / str(step), target)
    except OSError as error:
        _log.warning('cannot set aside the checkpoint of step %d: %s', step, error)


def clear_failed(folder: pathlib.Path) -> None:
    """Removes the remains of a failed save."""
    # Orbax's threads go on writing for a moment after one of them has failed.
    for _ in range(20):
        for half in folder.glob(_HALF):
            shutil.rmtree(half, ignore_errors=True)
        time.sleep(0.05)
        if not any(folder.glob(_HALF)):
            break
    gc.collect()  # failed tasks complain when they are collected
    put_back(folder)


def explained(error: Exception, folder: pathlib.Path, step: int) -> Exception:
    """What to raise for a failed save: a UserError if the disk is full or cannot be written to."""
    text, number = ' '.join(str(error).split()), getattr(error, 'errno', None)
    low = text.lower()
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(x in low for x in _FULL):
        reason = getattr(error, 'strerror', None)
        why = 'the disk is full' + (f' ({reason})' if reason else '')
    elif isinstance(error, OSError) or any(x in low for x in _CLOSED):
        why = text[:160]
    else:
        return error
    return UserError(
        f'cannot save the checkpoint of step {step} in {folder}: {why}; the earlier checkpoints '
        'are untouched'
    )
