"""What every checkpoint file looks like to the loader, and which reader opens which file."""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.json.json_values import Integer, ListOf, check

NUMBERS = frozenset(
    (
        *('bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'),
        *('float16', 'float32', 'float64', 'complex64', 'complex128', 'bfloat16', 'int4', 'uint4'),
        *('float8_e4m3fn', 'float8_e5m2', 'float8_e4m3', 'float8_e3m4', 'float8_e8m0fnu'),
        *('float8_e4m3b11fnuz', 'float8_e4m3fnuz', 'float8_e5m2fnuz'),
    )
)
"""Names of the dtypes that tensors in files may have."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of a tensor before it is read."""

    dtype: np.dtype
    shape: tuple[int, ...]
    place: tuple[int, ...] = ()
    """Where the data is, in the reader's own terms."""

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return count(self.shape) * self.dtype.itemsize


class TensorSource(abc.ABC):
    """Named tensors in a file (or several), listed from headers and read one by one."""

    path: pathlib.Path
    """The file, for messages."""
    headers: dict[str, Header]
    """By the tensors' names, in the file's order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, in the file's order."""
        return tuple(self.headers)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, from the header."""
        return self.headers[name].shape

    def dtype(self, name: str) -> np.dtype:
        """A tensor's dtype, from the header."""
        return self.headers[name].dtype

    def file_of(self, name: str) -> str:
        """Name of the file that holds a tensor, one of several for shards."""
        del name
        return self.path.name

    def change_of(self, name: str) -> str:
        """What was computed of a tensor that is not as it stands in a file; '' for nothing."""
        del name
        return ''

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(header.nbytes for header in self.headers.values())

    @abc.abstractmethod
    def read(self, name: str) -> np.ndarray:
        """One tensor, freshly read; nothing is kept.

        Raises:
          UserError: the file ends inside the tensor, or changed since it was opened.
        """


def count(shape: tuple[int, ...]) -> int:
    """Number of elements; in Python integers, so that a forged shape cannot overflow."""
    total = 1
    for side in shape:
        total *= side
    return total


def dtype_named(name: str, where: str) -> np.dtype:
    """A NumPy dtype from its name, bfloat16 and the float8 kinds included; never object."""
    if name == 'object':
        raise UserError(f'{where}: dtype {name!r} holds Python objects, which are never loaded')
    # By their names alone: NumPy reads a little language of compound types into such a text.
    if not isinstance(name, str) or name not in NUMBERS:
        raise UserError(f'{where}: unknown dtype {shown(name)}')
    return np.dtype(getattr(ml_dtypes, name, name))


def checked_shape(shape: Any, dtype: np.dtype, where: str) -> tuple[int, ...]:
    """A shape from a file as a tuple; UserError if no array can have it."""
    check(shape, f'{where}: shape', ListOf(Integer(0, 2**63 - 1), longest=32))
    # NumPy multiplies the sides of an empty array too.
    if count(tuple(side or 1 for side in shape)) * dtype.itemsize >= 2**62:
        raise UserError(f'{where}: shape {shown(shape)} does not fit an array')
    return tuple(shape)
