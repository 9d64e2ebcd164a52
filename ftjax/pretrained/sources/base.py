"""What every checkpoint file looks like to the loader, and which reader opens which file."""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.json_values import Integer, ListOf, check

# Formats that run code when opened, or whose tensors are wrapped in it.
PICKLED = ('.pth', '.pt', '.bin', '.ckpt', '.pkl', '.pickle', '.th')
CONVERT = (
    'in PyTorch, `safetensors.torch.save_file(torch.load(path, weights_only=True), '
    "'model.safetensors')` converts it"
)


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


def open_source(path: str | pathlib.Path) -> TensorSource:
    """Opens a checkpoint file, or the one in a folder, by its name's ending.

    A folder is searched for model.safetensors, its sharded index, flax_model.msgpack and
    then for a single file of a known kind.

    Raises:
      UserError: nothing is there, it is a pickle, or its header is broken.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = weights_in(path)
    if path.suffix in PICKLED:
        raise UserError(f'{path} is a pickle, which can run code when loaded; {CONVERT}')
    if not path.exists():
        raise UserError(f'no such checkpoint: {path}')
    # Readers are imported here: each costs a little, and a run uses one.
    if path.name.endswith('.safetensors.index.json'):
        from ftjax.pretrained.sources.sharded import ShardedSource

        return ShardedSource(path)
    if path.suffix == '.safetensors':
        from ftjax.pretrained.sources.safetensors_file import SafetensorsSource

        return SafetensorsSource(path)
    if path.suffix == '.npz':
        from ftjax.pretrained.sources.npz_file import NpzSource

        return NpzSource(path)
    if path.suffix == '.msgpack':
        from ftjax.pretrained.sources.msgpack_file import MsgpackSource

        return MsgpackSource(path)
    raise UserError(
        f'{path}: not a kind of checkpoint that can be read; known: .safetensors, '
        '.safetensors.index.json, .npz, .msgpack'
    )


def weights_in(folder: pathlib.Path) -> pathlib.Path:
    """The weights file in a folder; UserError if there is none, or it is not clear which."""
    for name in ('model.safetensors', 'model.safetensors.index.json', 'flax_model.msgpack'):
        if (folder / name).exists():
            return folder / name
    found = [
        file
        for pattern in ('*.safetensors', '*.safetensors.index.json', '*.npz', '*.msgpack')
        for file in sorted(folder.glob(pattern))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ', '.join(file.name for file in found)
        raise UserError(f'{folder} holds several checkpoints ({names}): give the path of one')
    pickles = [file for file in sorted(folder.iterdir()) if file.suffix in PICKLED]
    if pickles:
        raise UserError(
            f'{folder} holds only {pickles[0].name}, a pickle, which can run code when loaded; '
            + CONVERT
        )
    raise UserError(f'{folder} holds no checkpoint: no model.safetensors, .npz or .msgpack')
