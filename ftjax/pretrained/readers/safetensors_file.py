"""Safetensors files, read and written tensor by tensor.

The format (github.com/huggingface/safetensors): eight bytes with the header's length, a JSON
header {name: {dtype, shape, data_offsets}}, then the data. It is read here, not through the
library, so that a broken file gives an error that names the tensor, bfloat16 comes out as
such, and nothing is mapped into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import struct
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.files.owned_files import whole_file
from ftjax.io.files.regular_files import open_regular
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.io.json.json_values import Integer, Kind, ListOf, Table, Text, check, optional
from ftjax.pretrained.readers.tensor_source import (
    Header,
    TensorSource,
    checked_shape,
    count,
    dtype_named,
)

DTYPES = {
    'BOOL': 'bool',
    'U8': 'uint8',
    'I8': 'int8',
    'U16': 'uint16',
    'I16': 'int16',
    'U32': 'uint32',
    'I32': 'int32',
    'U64': 'uint64',
    'I64': 'int64',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'F32': 'float32',
    'F64': 'float64',
    'F8_E4M3': 'float8_e4m3fn',
    'F8_E5M2': 'float8_e5m2',
}
CODES = {name: code for code, name in DTYPES.items()}
HEADER_LIMIT = 100_000_000  # bytes; the library's own limit
_LIMITS = JsonLimits(size=HEADER_LIMIT, depth=8, duplicates=False)
_OFFSET = Integer(-(2**62), 2**62)
_ROW: dict[str, Kind] = {
    'dtype': Text(longest=100),
    'shape': ListOf(_OFFSET, longest=32),
    'data_offsets': ListOf(_OFFSET, 2, 2),
}


class SafetensorsSource(TensorSource):
    """One .safetensors file; opening it reads and checks the header only."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.metadata: dict[str, str] = {}
        try:
            self._read_header()
        except OSError as error:
            raise UserError(f'cannot read {self.path}: {error.strerror or error}') from error

    def _read_header(self) -> None:
        with open_regular(self.path) as file:
            total = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = struct.unpack('<Q', prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(HEADER_LIMIT, total - 8):
                raise UserError(
                    f'{self.path}: not a whole safetensors file ({total} bytes, and a header '
                    f'said to have {length})'
                )
            where = f'{self.path}: the safetensors header is broken'
            header = check(parse_json(file.read(length), where, _LIMITS), where, Table())
            metadata = header.pop('__metadata__', None)
            check(
                metadata, f'{where}: __metadata__', optional(Table(of=Text(longest=HEADER_LIMIT)))
            )
            self.metadata = metadata or {}
            rows = {name: _row(name, row, self.path) for name, row in header.items()}
        end = 0
        for name, row in sorted(rows.items(), key=lambda item: item[1].place):
            first, last = row.place
            if first < end or last - first != row.nbytes:
                raise UserError(
                    f'{self.path}: tensor {name!r} is said to be {row.dtype} {row.shape} in bytes '
                    f'{first} to {last}, which does not fit'
                )
            end = last
            if 8 + length + last > total:
                raise UserError(
                    f'{self.path} is truncated: tensor {name!r} ends at byte '
                    f'{8 + length + last}, the file has {total}'
                )
        self._start = 8 + length
        self.headers = rows

    def read(self, name: str) -> np.ndarray:
        """One tensor, in the file's dtype."""
        header = self.headers[name]
        first, last = header.place
        data = np.empty(last - first, np.uint8)
        with open_regular(self.path) as file:
            file.seek(self._start + first)
            if file.readinto(data.data) != data.size:
                raise UserError(f'{self.path} is truncated: it ends inside tensor {name!r}')
        return data.view(header.dtype).reshape(header.shape)


def _row(name: str, row: Mapping, path: pathlib.Path) -> Header:
    where = f'{path}: tensor {shown(name)}'
    broken = f'{path}: the safetensors header is broken: tensor {shown(name)}'
    for key, kind in _ROW.items():
        check(check(row, broken, Table()).get(key), f'{broken}: {key}', kind)
    # An unknown code is refused by its name: it may be one of a later version.
    dtype = dtype_named(DTYPES.get(row['dtype'], row['dtype'].lower()), where)
    if min((*row['shape'], *row['data_offsets'])) < 0:
        raise UserError(f'{where} has a negative size or offset')
    first, last = row['data_offsets']
    return Header(dtype, checked_shape(row['shape'], dtype, where), (first, last))


Lazy = Callable[[], np.ndarray]


def write_safetensors(
    path: str | pathlib.Path,
    tensors: Mapping[str, tuple[np.dtype, tuple[int, ...], Lazy]],
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Writes a file, asking for each tensor only when its turn comes; whole or not at all.

    Args:
      path: where to; a file there is replaced in one step at the end.
      tensors: name -> (dtype, shape, function that gives the array), in the order to write.
      metadata: strings for the header's __metadata__.

    Returns:
      The file's SHA-256, in hex.

    Raises:
      UserError: the folder cannot be written to, or the disk is full.
    """
    path = pathlib.Path(path)
    header: dict = {'__metadata__': dict(metadata)} if metadata else {}
    offset = 0
    for name, (dtype, shape, _) in tensors.items():
        size = count(shape) * np.dtype(dtype).itemsize
        header[name] = {
            'dtype': CODES[np.dtype(dtype).name],
            'shape': list(shape),
            'data_offsets': [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # the library wants the data aligned
    digest = hashlib.sha256()
    with whole_file(path) as file:
        for chunk in _chunks(struct.pack('<Q', len(text)) + text, tensors):
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(head: bytes, tensors) -> Iterable[bytes | memoryview]:
    yield head
    for name, (dtype, shape, get) in tensors.items():
        array = np.ascontiguousarray(get())
        # ascontiguousarray gives a scalar one axis; sizes are what the header promised.
        if array.dtype != dtype or array.size != count(shape):
            raise ValueError(f'{name}: {array.dtype} {array.shape}, promised {dtype} {shape}')
        yield array.reshape(-1).view(np.uint8).data
