"""A folder that is either whole or not there."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator

from ftjax.errors import UserError
from ftjax.io.files.kernel_lock import lock_folder

_PARTIAL = '.ftjax-partial.'
_YOUNG = 60.0  # seconds: whoever made the folder just now may not hold it yet


@contextlib.contextmanager
def whole_folder(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write into that becomes `output` at the end, or leaves nothing behind.

    Raises:
      UserError: there is something at `output`, or it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f'{output} is there already and not empty; give a new --output')
    try:
        with partial_folder(output) as beside:
            yield beside
            mask = os.umask(0)
            os.umask(mask)
            beside.chmod(0o777 & ~mask)  # a temporary folder is closed to others
            os.replace(beside, output)
    except OSError as error:
        raise UserError(f'cannot write {output}: {error.strerror or error}') from error


@contextlib.contextmanager
def partial_folder(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `target` to write into; it is removed at the end if it was not renamed.

    Those that killed processes of this machine left there are removed first.

    Raises:
      OSError: the folder cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target.parent)
    prefix = f'.{target.name[:16]}{_PARTIAL}{platform.node()}.'
    folder = tempfile.mkdtemp(prefix=prefix, dir=target.parent)
    beside = pathlib.Path(folder)
    held = lock_folder(beside)  # the kernel's lock ends with the process
    try:
        yield beside
    finally:
        if held is not None:
            os.close(held)
        shutil.rmtree(beside, ignore_errors=True)


def remove_abandoned(parent: pathlib.Path, young: float = _YOUNG) -> None:
    """Removes partial folders that no process of this machine holds; unsure ones stay.

    Args:
      parent: of the folders.
      young: seconds; what was changed since stays.
    """
    for left in parent.glob(f'.*{glob.escape(f"{_PARTIAL}{platform.node()}.")}*'):
        _remove(left, young)


def _remove(folder: pathlib.Path, young: float) -> None:
    with contextlib.suppress(OSError, UserError):  # it is gone, or somebody holds it
        if folder.is_symlink() or (young and time.time() - folder.stat().st_mtime < young):
            return
        held = lock_folder(folder)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
