"""A folder that is either whole or not there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from ftjax.errors import UserError


@contextlib.contextmanager
def whole_folder(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write into that becomes `output` at the end, or leaves nothing behind.

    Raises:
      UserError: there is something at `output`, or it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f'{output} is there already and not empty; give a new --output')
    beside = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        beside = pathlib.Path(tempfile.mkdtemp(prefix=f'.{output.name}.', dir=output.parent))
        yield beside
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o777 & ~mask)  # a temporary folder is closed to others
        os.replace(beside, output)
    except OSError as error:
        raise UserError(f'cannot write {output}: {error.strerror or error}') from error
    finally:
        if beside is not None and beside.exists():
            shutil.rmtree(beside, ignore_errors=True)
