"""NumPy archives, as AugReg's ViTs; headers only until a tensor is asked for, never pickles."""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

from ftjax.errors import UserError
from ftjax.pretrained.sources.base import Header, TensorSource


class NpzSource(TensorSource):
    """One .npz file of plain arrays."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.headers = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.namelist():
                    name = member.removesuffix('.npy')
                    with archive.open(member) as file:
                        self.headers[name] = _header(file, name, self.path)
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f'{self.path}: not a whole .npz file ({error})') from None

    def read(self, name: str) -> np.ndarray:
        """One array, unpacked; the archive's checksum is checked on the way."""
        header = self.headers[name]
        data = np.empty(header.nbytes, np.uint8)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f'{name}.npy') as member:
                file: Any = member  # typed as IO, which lacks the readinto it has
                _header(file, name, self.path)
                if file.readinto(data.data) != data.size or file.read(1):
                    raise UserError(f'{self.path}: tensor {name!r} has not the size it promises')
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise UserError(f'{self.path}: tensor {name!r} is damaged ({error})') from None
        return data.view(header.dtype).reshape(header.shape, order='F' if header.place[0] else 'C')


def _header(file, name: str, path: pathlib.Path) -> Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise UserError(f'{path}: {name!r} holds Python objects, which are never loaded')
    if dtype == np.dtype('V2'):  # NumPy has no name for bfloat16 and writes two bare bytes
        dtype = np.dtype(ml_dtypes.bfloat16)
    return Header(dtype, shape, (int(fortran),))
