"""Around one save: room on the disk, the old checkpoint of that step, tidying up, one error."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.io.owned_files import check_way

_log = logging.getLogger(__name__)
_HALF = '*orbax-checkpoint-tmp*'
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
        for old in folder.glob('replaced-*'):
            target = folder / old.name.removeprefix('replaced-')
            if target.exists():
                shutil.rmtree(old)
            else:
                os.replace(old, target)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f'cannot write checkpoints to {folder}: {reason}') from error


@contextlib.contextmanager
def guarded_save(folder: pathlib.Path, step: int, size: int) -> Iterator[None]:
    """Whatever happens inside, the folder holds whole checkpoints afterwards.

    A checkpoint of the same step stays until the new one is there; the remains of a failed
    save are removed.

    Args:
      folder: of all checkpoints.
      step: the one about to be written, by the body of the `with`.
      size: bytes of its arrays.

    Raises:
      UserError: the disk is full or cannot be written to.
    """
    where = f'cannot save the checkpoint of step {step} in {folder}'
    rest = 'the earlier checkpoints are untouched'
    target, old = folder / str(step), folder / f'replaced-{step}'
    check_way(target, itself=True)
    try:
        free = shutil.disk_usage(folder).free
        # Some room for metadata; arrays rarely compress, so their size is a fair estimate.
        if free < size + 2**20:
            raise OSError(errno.ENOSPC, f'{size / 2**20:.1f} MB wanted, {free / 2**20:.1f} free')
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
        with quiet():
            try:
                yield
            except BaseException:
                _remove_half(folder)
                raise
    except Exception as error:
        if old.exists() and not target.exists():
            os.replace(old, target)
        text, number = ' '.join(str(error).split()), getattr(error, 'errno', None)
        low = text.lower()
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(x in low for x in _FULL):
            why = f' ({error.strerror})' if isinstance(error, OSError) else ''
            raise UserError(f'{where}: the disk is full{why}; {rest}') from error
        if isinstance(error, OSError) or any(x in low for x in _CLOSED):
            raise UserError(f'{where}: {text[:160]}; {rest}') from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_half(folder: pathlib.Path) -> None:
    # Orbax's threads go on writing for a moment after one of them has failed.
    for _ in range(20):
        for half in folder.glob(_HALF):
            shutil.rmtree(half, ignore_errors=True)
        time.sleep(0.05)
        if not any(folder.glob(_HALF)):
            break
    # Failed tasks complain when they are collected: that is to happen while it is quiet.
    gc.collect()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the tracebacks of Orbax's threads off stderr: the error itself is raised here."""
    hook = sys.unraisablehook

    def filtered(unraisable: Any) -> None:
        if 'Event loop is closed' not in str(unraisable.exc_value):
            hook(unraisable)

    loggers = [logging.getLogger(name) for name in ('absl', 'asyncio')]
    levels = [logger.level for logger in loggers]
    sys.unraisablehook = filtered
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
        # After a failure the hook stays: some threads complain only much later.
        sys.unraisablehook = hook
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
