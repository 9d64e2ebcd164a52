"""Flax's msgpack files, as transformers 4 saved its Flax models: flax_model.msgpack.

A nested map whose leaves are extension values: type 1 holds an array as a packed
(shape, dtype name, bytes); arrays above a gigabyte come as maps of chunks. The file is walked
once for names, shapes and positions without reading the data; nothing is unpickled.
Names are the paths, joined by '/'.
"""

from __future__ import annotations

import mmap
import pathlib
import struct

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.files.regular_files import open_regular
from ftjax.pretrained.readers.tensor_source import (
    Header,
    TensorSource,
    checked_shape,
    count,
    dtype_named,
)

_ARRAY, _SCALAR = 1, 3  # flax.serialization's extension types
_DEEPEST = 100
_CHUNKED = '__msgpack_chunked_array__'
# code of a sized kind -> how many bytes its length takes
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_EXT_FIXED = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STR = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_MAP = {0xDE: 2, 0xDF: 4}
_LIST = {0xDC: 2, 0xDD: 4}
_INT = {0xCC: 'B', 0xCD: 'H', 0xCE: 'I', 0xCF: 'Q', 0xD0: 'b', 0xD1: 'h', 0xD2: 'i', 0xD3: 'q'}


class MsgpackSource(TensorSource):
    """One .msgpack file of nested dicts of arrays."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self.headers = {}
        self._at = ''  # the tensor being walked over, for messages
        try:
            with (
                open_regular(self.path) as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                if self._walk(_Cursor(data), ()) != len(data):
                    raise UserError(f'{self.path}: bytes after the end of the tensors')
        except (IndexError, struct.error):
            raise UserError(f'{self.path} is truncated: it ends inside {self._at!r}') from None
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f'{self.path}: not a msgpack checkpoint ({error})') from None
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f'{self.path}: not a msgpack checkpoint ({error})') from None

    def _walk(self, cursor: _Cursor, where: tuple[str, ...]) -> int:
        name = '/'.join(where)
        if len(where) > _DEEPEST:
            raise UserError(f'{self.path}: maps nested more than {_DEEPEST} deep')
        if cursor.is_map:
            for _ in range(cursor.map_size()):
                key = cursor.text()
                if key == _CHUNKED:
                    raise UserError(
                        f'{self.path}: tensor {name!r} is stored in chunks, which cannot be '
                        'read tensor by tensor; save it again as safetensors'
                    )
                self._walk(cursor, (*where, key))
            return cursor.at
        self._at = name
        kind, first, size = cursor.extension()
        if kind not in (_ARRAY, _SCALAR):
            raise UserError(f'{self.path}: {name!r} is no array (extension type {kind})')
        inner = _Cursor(cursor.data, first, first + size)
        if inner.list_size() != 3:
            raise UserError(f'{self.path}: {name!r} is no array')
        sides, at = inner.list_size(), f'{self.path}: tensor {shown(name)}'
        if sides > 32:
            raise UserError(f'{at} is said to have {sides} axes')
        shape = tuple(inner.integer() for _ in range(sides))
        dtype = dtype_named(inner.text(), at)
        shape = checked_shape(shape, dtype, at)
        start, length = inner.binary()
        if length != count(shape) * dtype.itemsize:
            raise UserError(
                f'{self.path}: tensor {name!r} is said to be {dtype} {shape} but has {length} bytes'
            )
        if name in self.headers:
            raise UserError(f'{at} stands there twice')
        self.headers[name] = Header(dtype, shape, (start, length))
        return cursor.at

    def read(self, name: str) -> np.ndarray:
        """One array; its place was noted when the file was walked."""
        header = self.headers[name]
        first, length = header.place
        data = np.empty(length, np.uint8)
        with open_regular(self.path) as file:
            file.seek(first)
            if file.readinto(data.data) != length:
                raise UserError(f'{self.path} is truncated: it ends inside tensor {name!r}')
        return data.view(header.dtype).reshape(header.shape)


class _Cursor:
    """A place in msgpack data; each method reads one thing and moves on.

    The msgpack library would copy every array's bytes to find where the next one starts.
    """

    def __init__(self, data: mmap.mmap, at: int = 0, end: int | None = None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def _take(self, size: int) -> int:
        """Moves on by `size` bytes; returns where they start."""
        first, self.at = self.at, self.at + size
        if self.at > self.end:
            raise IndexError('past the end')
        return first

    def _code(self) -> int:
        return self.data[self._take(1)]

    def _number(self, width: int) -> int:
        first = self._take(width)
        return int.from_bytes(self.data[first : first + width], 'big')

    @property
    def is_map(self) -> bool:
        code = self.data[self.at]
        return code in _MAP or code & 0xF0 == 0x80

    def map_size(self) -> int:
        code = self._code()
        return self._number(_MAP[code]) if code in _MAP else code & 0x0F

    def list_size(self) -> int:
        code = self._code()
        if code & 0xF0 == 0x90:
            return code & 0x0F
        return self._number(self._width(_LIST, code, 'a list'))

    def text(self) -> str:
        code = self._code()
        if code & 0xE0 == 0xA0:
            size = code & 0x1F
        else:
            # Flax packs a dtype's name as text, but a raw string may come as binary.
            size = self._number(self._width({**_STR, **_BIN}, code, 'text'))
        first = self._take(size)
        return self.data[first : first + size].decode('utf-8')

    def binary(self) -> tuple[int, int]:
        code = self._code()
        if code & 0xE0 == 0xA0:
            size = code & 0x1F
        else:
            size = self._number(self._width({**_STR, **_BIN}, code, 'bytes'))
        return self._take(size), size

    def integer(self) -> int:
        code = self._code()
        if code < 0x80:
            return code
        kind = self._width(_INT, code, 'a number')
        first = self._take(struct.calcsize(kind))
        return struct.unpack('>' + kind, self.data[first : self.at])[0]

    def extension(self) -> tuple[int, int, int]:
        """(type, first byte, bytes) of an extension value."""
        code = self._code()
        if code in _EXT_FIXED:
            size = _EXT_FIXED[code]
        else:
            size = self._number(self._width(_EXT, code, 'an array'))
        kind = self._code()
        return kind, self._take(size), size

    def _width(self, table: dict, code: int, what: str):
        if code not in table:
            raise ValueError(f'byte {self.at - 1} is 0x{code:02x} where {what} should be')
        return table[code]
