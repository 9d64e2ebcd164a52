"""Where features are kept: in memory, shared by the runs of a process, or in mapped files.

Processes that work on one ablation share those of memory too, as files of a folder (`share_in`).
A folder of features holds an .npy file an array and `features.json` with their key, shapes and
checksums. It is renamed into place when it is complete, and made again when it is damaged.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import logging
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.files.kernel_lock import waited_for
from ftjax.io.files.whole_folder import partial_folder
from ftjax.training.feature_cache.compute import Shapes, nested
from ftjax.xla.program_cache import times_dropped

_log = logging.getLogger(__name__)
_KEPT: collections.OrderedDict[str, Features] = collections.OrderedDict()
_SHARED: list[pathlib.Path] = []
_CHUNK = 64 * 2**20  # bytes that are summed at once
STALE = 'a batch of them, computed again, is another: the code or the machine has changed'
Fill = Callable[[Mapping[str, np.ndarray]], None]
Probe = Callable[[Mapping[str, np.ndarray]], bool]


def trusted(arrays: Mapping[str, np.ndarray]) -> bool:
    """The probe that looks at nothing."""
    return True


class NotStored(UserError):
    """Features cannot be kept in files."""


@dataclasses.dataclass(frozen=True)
class Features:
    """What flows into the cut, for every example of a split: {path: (N, ..)}."""

    key: str
    arrays: Mapping[str, np.ndarray]
    checked: Hashable = dataclasses.field(default=None, compare=False)
    """What made them, or last computed a batch of them again; None asks for that at every use."""

    @property
    def bytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, rows: np.ndarray) -> object:
        """The inputs of the stage at the cut for some examples."""
        return nested({path: np.asarray(array[rows]) for path, array in self.arrays.items()})


def in_memory(
    key: str,
    shapes: Shapes,
    count: int,
    most: int,
    fill: Fill,
    probe: Probe = trusted,
    by: Hashable = None,
) -> Features:
    """Features kept in this process, computed if no run before asked for the same.

    Args:
      most: bytes of all features that are kept; those used longest ago go first.
      probe: whether features that are there already are still what would be computed.
      by: the function that computes them, of inputs that the process does not change. While it is
        an equal one and its program stays, the same would be computed, and `probe` is not asked;
        None asks it always.
    """
    program = None if by is None else (by, times_dropped())
    known = key in _KEPT and program is not None and _KEPT[key].checked == program
    if key in _KEPT and not known and not probe(_KEPT[key].arrays):
        _log.warning('stored features are dropped and computed again: %s', STALE)
        del _KEPT[key]
    if key not in _KEPT:
        _KEPT[key] = shared(key, shapes, count, fill, probe) or made(key, shapes, count, fill)
    if _KEPT[key].checked != program:
        _KEPT[key] = dataclasses.replace(_KEPT[key], checked=program)
    _KEPT.move_to_end(key)
    while len(_KEPT) > 1 and sum(known.bytes for known in _KEPT.values()) > most:
        _KEPT.popitem(last=False)
    return _KEPT[key]


def made(key: str, shapes: Shapes, count: int, fill: Fill) -> Features:
    """Features computed into arrays of this process."""
    arrays = {p: np.empty((count, *x.shape), jnp.dtype(x.dtype)) for p, x in shapes.items()}
    fill(arrays)
    for array in arrays.values():
        array.flags.writeable = False
    return Features(key, arrays)


def share_in(folder: str | os.PathLike[str]) -> None:
    """From now on this process shares the features that it keeps in memory, as files of a folder.

    Of the processes that share them the first computes, while the others wait for it.
    """
    _SHARED[:] = [pathlib.Path(folder)]


def shared(key: str, shapes: Shapes, count: int, fill: Fill, probe: Probe) -> Features | None:
    """Features of the folder that is shared; None where none is, or it takes no files."""
    for folder in _SHARED:
        try:
            with waited_for(folder / f'{key}.lock'):
                if not (folder / key).exists():
                    return in_files(key, shapes, count, folder, fill, probe)
            return in_files(key, shapes, count, folder, fill, probe)  # all read at a time
        except NotStored as error:
            _log.warning('features are kept in memory: %s', error)
    return None


def drop_shared(folder: pathlib.Path) -> None:
    """Removes the features of a folder that was shared, and the folder if nothing else is in it."""
    for place in folder.glob('*'):
        if re.fullmatch(r'[0-9a-f]{64}', place.name):
            shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def kept() -> tuple[Features, ...]:
    """All features that are kept in memory, the longest unused first."""
    return tuple(_KEPT.values())


def forget() -> None:
    """Drops all features that are kept in memory."""
    _KEPT.clear()


def in_files(
    key: str,
    shapes: Shapes,
    count: int,
    folder: str | os.PathLike[str],
    fill: Fill,
    probe: Probe = trusted,
) -> Features:
    """Features in memory-mapped files below `folder`, computed if they are not there.

    `probe` is that of `in_memory`.

    Raises:
      NotStored: the folder cannot be written to, or the disk is full.
    """
    place = pathlib.Path(folder).expanduser() / key
    known = opened(place, key, shapes, count)
    if known is not None:
        if probe(known.arrays):
            return known
        _log.warning('features in %s are dropped and computed again: %s', place, STALE)
        shutil.rmtree(place, ignore_errors=True)
    try:
        with partial_folder(place) as beside:
            write(beside, key, shapes, count, fill)
            # Where another process was quicker, its folder stays and ours is dropped.
            with contextlib.suppress(OSError):
                os.replace(beside, place)
    except OSError as error:
        raise NotStored(f'features cannot be stored in {place}: {error.strerror}') from error
    known = opened(place, key, shapes, count)
    if known is None:
        raise NotStored(
            f'features cannot be stored in {place}: what was written does not read back'
        )
    return known


def write(folder: pathlib.Path, key: str, shapes: Shapes, count: int, fill: Fill) -> None:
    """Computes features into .npy files and describes them, synced to the disk."""
    stored, arrays = {}, {}
    for number, (path, shape) in enumerate(shapes.items()):
        dtype = jnp.dtype(shape.dtype)
        # NumPy's format has no name for bfloat16 and its kin: their bits are stored.
        plain = dtype if dtype.kind in 'biuf' else np.dtype(f'u{dtype.itemsize}')
        file = f'{number}.npy'
        stored[file] = np.lib.format.open_memmap(folder / file, 'w+', plain, (count, *shape.shape))
        reserve(folder / file)
        arrays[path] = stored[file].view(dtype)
    fill(arrays)
    described = {}
    for (file, array), path in zip(stored.items(), shapes, strict=True):
        array.flush()
        dtype = str(jnp.dtype(shapes[path].dtype))
        described[path] = {'file': file, 'dtype': dtype, 'crc32': checksum(folder / file)}
    write_json(folder / 'features.json', {'key': key, 'count': count, 'arrays': described})


def reserve(path: pathlib.Path) -> None:
    """Takes the room of a file on its disk; OSError where there is not enough.

    A mapped file is full of holes at first, and a page of it that finds the disk full is no error
    that could be caught: the kernel ends the process (SIGBUS).
    """
    if not hasattr(os, 'posix_fallocate'):  # macOS, Windows
        return
    with open(path, 'r+b') as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def stored(key: str, count: int, folder: str | os.PathLike[str]) -> Features | None:
    """Features of a key in memory or in files below `folder`; None where there are none."""
    if key in _KEPT:
        return _KEPT[key]
    place = pathlib.Path(folder).expanduser() / key
    try:
        said = read_json(place / 'features.json')['arrays']
        shapes = {
            path: jax.ShapeDtypeStruct(
                np.load(place / one['file'], mmap_mode='r', allow_pickle=False).shape[1:],
                jnp.dtype(one['dtype']),
            )
            for path, one in said.items()
        }
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None  # a run that needs them says what is wrong
    return opened(place, key, shapes, count)


def opened(place: pathlib.Path, key: str, shapes: Shapes, count: int) -> Features | None:
    """The features in a folder; None if it is not there, or is damaged and was removed."""
    if not place.exists():
        return None
    try:
        said = read_json(place / 'features.json')
        if said['key'] != key or said['count'] != count or set(said['arrays']) != set(shapes):
            raise ValueError('it holds other features')
        arrays = {p: array_in(place, said['arrays'][p], shapes[p], count) for p in shapes}
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning('%s is damaged (%s); its features are computed again', place, error)
        shutil.rmtree(place, ignore_errors=True)
        return None
    return Features(key, arrays)


def array_in(
    folder: pathlib.Path, said: Mapping[str, Any], shape: jax.ShapeDtypeStruct, count: int
) -> np.ndarray:
    """One array, mapped read-only; ValueError if it is not what was written."""
    dtype, path = jnp.dtype(shape.dtype), folder / said['file']
    if checksum(path) != said['crc32']:
        raise ValueError(f'{path.name} does not have the bytes that were written')
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if said['dtype'] != str(dtype) or array.dtype.itemsize != dtype.itemsize:
        raise ValueError(f'{path.name} holds {said["dtype"]}, expected {dtype}')
    if array.shape != (count, *shape.shape):
        raise ValueError(f'{path.name} has shape {array.shape}')
    return array.view(dtype)


def checksum(path: pathlib.Path) -> int:
    """CRC-32 of a file: told from the original after any flipped bit, at gigabytes a second."""
    total = 0
    with open(path, 'rb') as file:
        while part := file.read(_CHUNK):
            total = zlib.crc32(part, total)
    return total
