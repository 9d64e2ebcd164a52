"""Images of a split at 32 x 32 pixels, for the checks that compare pictures."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import resize_array
from ftjax.data.images.geometry import Geometry, match_channels
from ftjax.data.images.thumbnails import SIDE, known, thumbnail

SMALLEST = 16
"""Pixels of the shorter side below which images are too coarse to tell near copies."""
_FREE = 2**25
"""Pixels of arrays that are made smaller at no cost to speak of (0.3 s)."""
_GEOMETRY = Geometry(height=SIDE, width=SIDE, channels=3, interpolation='box', squash=True)


def thumbnails(dataset: Dataset, whole: bool) -> np.ndarray | None:
    """uint8 (n, 32, 32, 3); None for texts, for images that are too coarse, and without `whole`
    where that would take long: files that nobody has unpacked so far, and large arrays.
    """
    if not len(dataset):
        return np.zeros((0, SIDE, SIDE, 3), np.uint8)
    if dataset.kind == 'image_file':
        if not whole and not all(map(known, dataset.inputs)):
            return None
        with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
            return np.stack(list(pool.map(thumbnail, dataset.inputs)))
    if dataset.kind == 'tfds' and whole:
        reads = range(len(dataset))
        return np.stack(
            [dataset.inputs.image(i, _GEOMETRY, f'{dataset.name} {dataset.ids[i]}') for i in reads]
        )
    if dataset.kind != 'image' or too_coarse(dataset):
        return None
    if not whole and dataset.inputs[..., 0].size > _FREE:
        return None
    images = dataset.inputs
    if images.shape[-1] not in (1, 3):
        images = images[..., :1]
    if images.shape[1:3] != (SIDE, SIDE):
        images = np.stack([resize_array(image, _own(images)) for image in images])
    if images.dtype != np.uint8:
        images = (images * 255).round().astype(np.uint8)
    return match_channels(images, 3)


def too_coarse(dataset: Dataset) -> bool:
    """Whether arrays have so few pixels that near copies cannot be told from others."""
    return dataset.kind == 'image' and min(dataset.inputs.shape[1:3]) < SMALLEST


def _own(images: np.ndarray) -> Geometry:
    return Geometry(
        height=SIDE, width=SIDE, channels=images.shape[-1], interpolation='box', squash=True
    )
