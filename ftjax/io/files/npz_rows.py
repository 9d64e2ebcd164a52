"""An .npz archive written row by row: one array of numbers, and the name of each row."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ftjax.io.files.owned_files import whole_file

Write = Callable[[Sequence[str], np.ndarray], None]


@contextlib.contextmanager
def npz_rows(path: str | os.PathLike[str], name: str) -> Iterator[Write]:
    """A function that adds (n,) names and float32 rows (n, ..); see `numpy.load`.

    The archive holds `ids` (N,) and the array `name` (N, ..), unpacked. What has been added
    waits in files beside `path`, so that memory does not grow; on a failure nothing is left.

    Raises:
      UserError: the file cannot be written.
    """
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shape, longest = [0, 0], 1
    with (
        tempfile.TemporaryFile(dir=target.parent) as numbers,
        tempfile.TemporaryFile(dir=target.parent) as names,
    ):

        def write(ids: Sequence[str], rows: np.ndarray) -> None:
            nonlocal longest
            numbers.write(np.ascontiguousarray(rows, '<f4').tobytes())
            shape[:] = shape[0] + len(rows), *rows.shape[1:]
            for each in ids:
                longest = max(longest, len(each))
                names.write(json.dumps(each).encode() + b'\n')

        yield write
        numbers.seek(0)
        names.seek(0)
        with whole_file(target) as file, zipfile.ZipFile(file, 'w') as archive:
            with archive.open('ids.npy', 'w', force_zip64=True) as member:
                _header(member, f'<U{longest}', (shape[0],))
                for line in names:
                    member.write(np.array(json.loads(line), f'<U{longest}').tobytes())
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                _header(member, '<f4', tuple(shape))
                shutil.copyfileobj(numbers, member, 2**20)


def _header(file: Any, descr: str, shape: tuple[int, ...]) -> None:
    fields = {'descr': descr, 'fortran_order': False, 'shape': shape}
    np.lib.format.write_array_header_1_0(file, fields)
