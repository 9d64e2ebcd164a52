"""Examples of one split that are, byte for byte, examples of another."""

from __future__ import annotations

import collections
import hashlib
import os

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError

_PART = 1 << 20  # bytes of a file read at once


def copies(held_out: Dataset, train: Dataset) -> np.ndarray:
    """Positions in `held_out` of examples whose inputs stand in `train` too.

    Labels are not compared. Of image files only those of equal size are read. Records of TFDS
    are not looked at: they would all have to be unpacked.

    Raises:
      UserError: for a file that cannot be read.
    """
    if held_out.kind != train.kind or not len(held_out) or held_out.kind == 'tfds':
        return np.array([], np.int64)
    if train.kind == 'image_file':
        mine, theirs = _file_keys(held_out.inputs, train.inputs)
    else:
        mine, theirs = _keys(held_out), _keys(train)
    known = set(theirs)
    return np.flatnonzero([key in known for key in mine])


def _keys(dataset: Dataset) -> list[object]:
    if dataset.kind == 'text':
        pairs = dataset.inputs.ndim > 1
        return [tuple(text) if pairs else text for text in dataset.inputs]
    shape = dataset.inputs.shape[1:]
    return [
        (shape, dataset.inputs.dtype.str, hashlib.blake2b(image, digest_size=16).digest())
        for image in np.ascontiguousarray(dataset.inputs)
    ]


def _file_keys(mine: np.ndarray, theirs: np.ndarray) -> tuple[list[object], list[object]]:
    sizes = [[_size(path) for path in paths] for paths in (mine, theirs)]
    shared = set(sizes[0]) & set(sizes[1])
    digests: collections.defaultdict[str, bytes] = collections.defaultdict(bytes)
    for path, size in zip([*mine, *theirs], [*sizes[0], *sizes[1]], strict=True):
        if size in shared and path not in digests:
            digests[path] = _digest(path)

    def key(path: str, size: int) -> object:
        return (size, digests[path]) if size in shared else (size, path)

    return list(map(key, mine, sizes[0])), list(map(key, theirs, sizes[1]))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); was it moved?') from error


def _digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, 'rb') as file:
            while part := file.read(_PART):
                digest.update(part)
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); was it moved?') from error
    return digest.digest()
