"""NumPy archives from outside: what they promise is checked before anything is unpacked.

Archive and arrays are `zipfile`'s and NumPy's formats. Each array's header is read here, by a
pattern: NumPy evaluates it as a Python literal, which a hostile header can make recurse. Sizes
are compared with one another, with the file, and with a limit on what a few bytes may unpack to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import lzma
import math
import os
import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.files.regular_files import open_regular
from ftjax.io.process.host_memory import host_limit

SMALL = 2**30
"""Bytes up to which an array may be packed as densely as it likes."""
DENSEST = 100
"""Bytes of a larger array to each byte in the file; photographs and weights have one or two."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Ways of packing that Python's zipfile knows."""
_HEADER = 65536  # bytes; NumPy writes 118 for nearly all arrays
_FIELDS = {
    'descr': re.compile(r"""['"]descr['"]\s*:\s*(['"])(?P<value>[^'"]{1,40})\1"""),
    'fortran_order': re.compile(r"""['"]fortran_order['"]\s*:\s*(?P<value>True|False)"""),
    'shape': re.compile(r"""['"]shape['"]\s*:\s*\((?P<value>[0-9L,\s]*)\)"""),
}
_COLUMNS = re.compile(r"""['"]descr['"]\s*:\s*\[""")
_BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,  # another version or compression of zip
    RuntimeError,  # encrypted
    ValueError,
    EOFError,
    OSError,
    OverflowError,
    IndexError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """What is known of an array before it is unpacked."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    """Whether the first index runs fastest."""

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpzArchive:
    """One .npz file, its headers read and checked; arrays are unpacked one by one.

    Raises:
      UserError: at any step, naming the file and the array.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.headers: dict[str, ArrayHeader] = {}
        """By name, in the file's order."""
        self.others: tuple[str, ...] = ()
        """Members that are no plain arrays; they are not read."""
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            with open_regular(self.path) as file, zipfile.ZipFile(file) as archive:
                total = os.fstat(file.fileno()).st_size
                self._list(archive, total)
        except _BROKEN as error:
            raise self._damaged(error) from None

    def read(self, name: str) -> np.ndarray:
        """One array, unpacked; the archive's checksum is checked on the way."""
        header = self.headers[name]
        data = np.empty(header.nbytes, np.uint8)
        with self._unpacked(name) as unpacked:
            _fill(unpacked, data, self._where(name))
        array = data.view(header.dtype) if header.nbytes else np.empty(0, header.dtype)
        return array.reshape(header.shape, order='F' if header.fortran else 'C')

    def blocks(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """An array in parts of so many rows, unpacked one after the other.

        Whole where the first index runs fastest. The checksum is known at the end alone.
        """
        header = self.headers[name]
        if header.fortran or not header.shape:
            yield self.read(name)
            return
        size = math.prod(header.shape[1:]) * header.dtype.itemsize
        with self._unpacked(name) as unpacked:
            for first in range(0, header.shape[0], rows):
                count = min(rows, header.shape[0] - first)
                data = np.empty(count * size, np.uint8)
                last = first + count == header.shape[0]
                _fill(unpacked, data, self._where(name), last)
                yield data.view(header.dtype).reshape(count, *header.shape[1:])

    @contextlib.contextmanager
    def _unpacked(self, name: str) -> Iterator[IO[bytes]]:
        """The data of one array, its header read; whatever is broken there becomes one line."""
        try:
            with (
                open_regular(self.path) as file,
                zipfile.ZipFile(file) as archive,
                archive.open(self._members[name]) as unpacked,
            ):
                if _read_header(unpacked, self._where(name)) != self.headers[name]:
                    raise UserError(f'{self._where(name)} has changed since it was opened')
                yield unpacked
        except _BROKEN as error:
            raise self._damaged(error, name) from None

    def _list(self, archive: zipfile.ZipFile, total: int) -> None:
        members, others = archive.infolist(), []
        if sum(member.compress_size for member in members) > total:
            raise UserError(f'{self.path}: its members are said to be larger than the file')
        for member in members:
            name = member.filename.removesuffix('.npy')
            if name == member.filename:
                others.append(name)
                continue
            if name in self.headers:
                raise UserError(f'{self._where(name)} stands there twice')
            self._check_packing(name, member)
            with archive.open(member) as file:
                header = _read_header(file, self._where(name))
                if header is None:
                    others.append(name)
                    continue
                promised = file.tell() + header.nbytes
            if promised != member.file_size:
                raise UserError(
                    f'{self._where(name)} has not the size it promises: {header.dtype} '
                    f'{shown(header.shape)} is {header.nbytes} bytes, and with its header it has '
                    f'{member.file_size}'
                )
            self.headers[name], self._members[name] = header, member
        self.others = tuple(others)

    def _check_packing(self, name: str, member: zipfile.ZipInfo) -> None:
        where, size = self._where(name), member.file_size
        if member.flag_bits & 1:
            raise UserError(f'{where} is encrypted; save it again with numpy.savez')
        if member.compress_type not in PACKED:
            kind = member.compress_type
            raise UserError(f'{where} has compression {kind}; save it again with numpy.savez')
        if member.compress_type == zipfile.ZIP_STORED and size != member.compress_size:
            raise UserError(
                f'{where} is stored in {member.compress_size} bytes and promises {size}'
            )
        if size > SMALL and size > DENSEST * member.compress_size:
            raise UserError(
                f'{where} would unpack {member.compress_size} bytes to {size}, which no data does; '
                'if it is meant, save it with numpy.savez, unpacked'
            )
        memory = host_limit()
        if memory is not None and size > memory:
            raise UserError(f'{where} has {size} bytes, and this machine {memory} of memory')

    def _where(self, name: str) -> str:
        return f'{self.path}: array {shown(name)}'

    def _damaged(self, error: BaseException, name: str | None = None) -> UserError:
        if isinstance(error, UserError):
            return error
        reason = ' '.join(str(getattr(error, 'strerror', None) or error).split())[:200]
        reason = reason or type(error).__name__
        if name is not None:
            return UserError(f'{self._where(name)} is damaged ({reason})')
        return UserError(f'{self.path}: not a whole .npz file, it is damaged ({reason})')


def _read_header(file, where: str) -> ArrayHeader | None:
    """The header at the beginning of a .npy file, read past; None for a table with columns."""
    prefix = file.read(8)
    if len(prefix) < 8 or prefix[:6] != b'\x93NUMPY':
        raise UserError(f'{where}: no NumPy array')
    wide = prefix[6] >= 2  # versions 2 and 3 have a longer header
    if prefix[6] not in (1, 2, 3):
        raise UserError(f'{where}: version {prefix[6]} of the .npy format is not known')
    length = int.from_bytes(file.read(4 if wide else 2), 'little')
    if not 2 <= length <= _HEADER:
        raise UserError(f'{where}: a header of {length} bytes; expected at most {_HEADER}')
    text = file.read(length).decode('utf-8' if prefix[6] == 3 else 'latin-1')
    found = {}
    for name, pattern in _FIELDS.items():
        match = pattern.search(text)
        if not match and name == 'descr' and _COLUMNS.search(text):
            return None
        if not match:
            raise UserError(f'{where}: its header has no {name}: {shown(text.strip())}')
        found[name] = match['value']
    sides = [side.strip().removesuffix('L') for side in found['shape'].split(',')]
    sides = [side for side in sides if side]
    dtype = _dtype(found['descr'], where)
    good = len(sides) <= 32 and all(re.fullmatch('[0-9]{1,18}', side) for side in sides)
    shape = tuple(map(int, sides)) if good else ()
    # An empty array can have other sides that are too long for NumPy.
    if not good or math.prod(side or 1 for side in shape) * dtype.itemsize >= 2**62:
        raise UserError(f'{where}: shape {shown(found["shape"])} is no shape of an array')
    return ArrayHeader(dtype, shape, found['fortran_order'] == 'True')


def _dtype(name: str, where: str) -> np.dtype:
    if not re.fullmatch(r'[<>|=]?([biufcSUV][0-9]{1,9}|[?]|[mM]8(\[[a-zA-Z0-9]{1,8}\])?)', name):
        if re.fullmatch(r'[<>|=]?O[0-9]*', name):
            raise UserError(f'{where} holds Python objects, which are not read; save plain arrays')
        raise UserError(f'{where}: dtype {shown(name)} is not known')
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        raise UserError(f'{where}: dtype {shown(name)} is not known') from None


def _fill(file: IO[bytes], data: np.ndarray, where: str, last: bool = True) -> None:
    """Reads an array's bytes in parts, so that no second copy of it is made.

    `last` says whether nothing may come after them.
    """
    view, at = data.data, 0
    while at < len(view):
        part = file.read(min(2**24, len(view) - at))
        if not part:
            raise UserError(f'{where} has not the size it promises')
        view[at : at + len(part)] = part
        at += len(part)
    if last and file.read(1):
        raise UserError(f'{where} has not the size it promises')
