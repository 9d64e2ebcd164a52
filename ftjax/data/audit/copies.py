"""Examples of one split that are, byte for byte, examples of another."""

from __future__ import annotations

import hashlib

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.io.files.file_hashes import file_hashes


def copies(held_out: Dataset, train: Dataset) -> np.ndarray:
    """Positions in `held_out` of examples that have the same inputs as an example of `train`.

    Labels are not compared. Image files are compared by their hashes, which the fingerprint of
    the data needs too. Records of TFDS are not looked at: they would all have to be unpacked.

    Raises:
      UserError: for a file that cannot be read.
    """
    if held_out.kind != train.kind or not len(held_out) or held_out.kind == 'tfds':
        return np.array([], np.int64)
    if train.kind == 'image_file':
        mine, theirs = file_hashes(held_out.inputs), file_hashes(train.inputs)
    else:
        mine, theirs = _keys(held_out), _keys(train)
    known = set(theirs)
    return np.flatnonzero([key in known for key in mine])


def _keys(dataset: Dataset) -> list[object]:
    if dataset.kind == 'text':
        pairs = dataset.inputs.ndim > 1
        return [tuple(text) if pairs else text for text in dataset.inputs]
    if dataset.kind == 'table':
        return list(dataset.inputs.rows)
    shape = dataset.inputs.shape[1:]
    return [
        (shape, dataset.inputs.dtype.str, hashlib.blake2b(image, digest_size=16).digest())
        for image in np.ascontiguousarray(dataset.inputs)
    ]
