"""NumPy archives, as AugReg's ViTs; headers only until a tensor is asked for, never pickles."""

from __future__ import annotations

import pathlib

import ml_dtypes
import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.files.npz_archive import NpzArchive
from ftjax.pretrained.readers.tensor_source import Header, TensorSource


class NpzSource(TensorSource):
    """One .npz file of plain arrays."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self._archive = NpzArchive(self.path)
        if self._archive.others:
            raise UserError(f'{self.path}: {shown(self._archive.others[0])} in it is no array')
        self.headers = {
            name: Header(_without_name(header.dtype), header.shape)
            for name, header in self._archive.headers.items()
        }

    def read(self, name: str) -> np.ndarray:
        """One array, unpacked; the archive's checksum is checked on the way."""
        return self._archive.read(name).view(self.headers[name].dtype)


def _without_name(dtype: np.dtype) -> np.dtype:
    """The dtype that is meant: NumPy has no name for bfloat16 and writes two bare bytes."""
    return np.dtype(ml_dtypes.bfloat16) if dtype == np.dtype('V2') else dtype
