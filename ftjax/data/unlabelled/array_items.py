"""Inputs from an .npz file, a few rows at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ftjax.data.labels.names import names_of
from ftjax.data.sources.folders.image_tree import readable
from ftjax.data.sources.npz_file import as_images
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.errors import UserError, did_you_mean
from ftjax.io.files.npz_archive import NpzArchive

_BLOCK = 2**24  # bytes unpacked at a time
_KEYS = ('x', 'x_test')


def array_items(path: Path, texts: bool) -> Iterator[Found]:
    """The rows of array `x`, or `x_test`; ids from `ids`, `ids_test` or `names`.

    Raises:
      UserError: no such array, or one of another shape; a damaged file.
    """
    archive, key = _opened(path)
    header = archive.headers[key]
    ids = _ids(archive, header.shape[0] if header.shape else 0, key)
    if (header.dtype.kind in 'SU') != texts:
        holds, takes = ('texts', 'images') if not texts else ('images or numbers', 'texts')
        raise UserError(f'{path}: {key} holds {holds}, and the network takes {takes}')
    if texts and header.shape[1:] not in ((), (2,)):
        raise UserError(
            f'{path}: {key} has shape {header.shape}; expected (N,), or (N, 2) of pairs'
        )
    size = max(1, header.nbytes // max(1, header.shape[0]))
    number = itertools.count()
    for block in archive.blocks(key, max(1, _BLOCK // size)):
        yield from _texts(block, ids, number) if texts else _images(block, ids, number, path, key)


def array_count(path: Path) -> int:
    """How many rows there are."""
    archive, key = _opened(path)
    return archive.headers[key].shape[0] if archive.headers[key].shape else 0


def _opened(path: Path) -> tuple[NpzArchive, str]:
    archive = NpzArchive(path)
    key = next((key for key in _KEYS if key in archive.headers), None)
    if key is None:
        raise UserError(f"{path}: no array 'x'; {did_you_mean('x', archive.headers)}")
    return archive, key


def _ids(archive: NpzArchive, count: int, key: str) -> list[str] | None:
    for name in (f'ids{key[1:]}', 'names'):
        if name in archive.headers and archive.headers[name].shape == (count,):
            return [readable(each) for each in names_of(archive.read(name))]
    return None


def _id(ids: list[str] | None, number: int) -> str:
    return f'{number:06d}' if ids is None else ids[number]


def _texts(block: np.ndarray, ids: list[str] | None, number: Iterator[int]) -> Iterator[Found]:
    flat = names_of(block)
    rows = flat if block.ndim == 1 else zip(flat[::2], flat[1::2], strict=True)
    for row in rows:
        yield Item(_id(ids, next(number)), row)


def _images(
    block: np.ndarray, ids: list[str] | None, number: Iterator[int], path: Path, key: str
) -> Iterator[Found]:
    try:
        yield from (Item(_id(ids, next(number)), image) for image in as_images(block, path.name))
    except UserError:
        if block.ndim not in (3, 4) or not all(block.shape[1:]) or block.dtype.kind not in 'uif':
            raise  # no row of it can be right
        for row in block:
            at = next(number)
            try:
                yield Item(_id(ids, at), as_images(row[None], f'{path.name} {key}[{at}]')[0])
            except UserError as error:
                yield Unreadable(_id(ids, at), str(error))
