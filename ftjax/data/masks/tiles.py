"""Windows of one size over images of any: where they lie, and a split cut into them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode
from ftjax.data.images.dicom import Window
from ftjax.data.images.geometry import match_channels
from ftjax.data.images.modes import Whites
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.data.masks.mask_values import NOT_COUNTED
from ftjax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Shaped

LARGEST = 2 * 2**30
"""Bytes of the windows of a split, which are held in memory."""


def corners(
    size: tuple[int, int], window: tuple[int, int], overlap: float
) -> list[tuple[int, int]]:
    """(top, left) of windows that cover an image of (height, width), the last ones at its edge.

    Neighbours share at least `overlap` of a side. An image smaller than a window has one.

    >>> corners((4, 10), (4, 4), 0.5)
    [(0, 0), (0, 2), (0, 4), (0, 6)]
    >>> corners((3, 9), (4, 4), 0.0)
    [(0, 0), (0, 4), (0, 5)]
    """
    places = []
    for side, own in zip(size, window, strict=True):
        step = max(1, math.floor(own * (1 - overlap)))
        count = max(0, -(-(side - own) // step)) + 1
        places.append([min(turn * step, max(side - own, 0)) for turn in range(count)])
    return [(top, left) for top in places[0] for left in places[1]]


def cut(
    array: Shaped[np.ndarray, 'height width ...'], corner: tuple[int, int], window: tuple[int, int]
) -> Shaped[np.ndarray, 'rows columns ...']:
    """A window of an image; what lies beyond a smaller one repeats its last row and column."""
    (top, left), (rows, columns) = corner, window
    found = array[top : top + rows, left : left + columns]
    below, beside = rows - found.shape[0], columns - found.shape[1]
    if not below and not beside:
        return found
    return np.pad(found, ((0, below), (0, beside), *[(0, 0)] * (array.ndim - 2)), mode='edge')


def in_own_size(
    image: str | bytes | np.ndarray,
    channels: int,
    grey: bool = False,
    whites: Whites | None = None,
    name: str = '',
    shown: Window | None = None,
) -> np.ndarray:
    """An image, a file or an array, that is not resized: (height, width, channels).

    Args:
      image: a path, the bytes of a file, or (height, width, its own channels).
      channels: those of the network.
      grey: whether it is read in grey (data.channels=1).
      whites, name: as of `decode`.
      shown: the values that DICOM files show, as `window` of `decode`.

    Raises:
      UserError: as `decode`.
    """
    if isinstance(image, np.ndarray):
        image = match_channels(image, 1) if grey else image
    else:
        image = decode(image, None, 1 if grey else channels, name, whites, shown)
    return match_channels(image, channels)


def native(
    dataset: Dataset, index: int, channels: int | None = None, shown: Window | None = None
) -> np.ndarray:
    """An image of a split at its own size: uint8 or float32 (height, width, channels).

    `channels` are those of the network; None for the images' own. `shown` is as of `in_own_size`.
    """
    if dataset.kind == 'image':
        found = dataset.inputs[index]
        return match_channels(found, channels) if channels else found
    if dataset.kind != 'image_file':
        raise UserError(f'{dataset.name}: data.sliding needs images in files or in memory')
    channels = channels or dataset.channels or 3
    grey, whites = dataset.channels == 1, dataset.whites
    return in_own_size(dataset.inputs[index], channels, grey, whites, shown=shown)


def tiled(
    dataset: Dataset, window: tuple[int, int], overlap: float, shown: Window | None = None
) -> Dataset:
    """A split whose examples are the windows of its images, each with its part of the mask.

    They are held in memory. What lies beyond a smaller image counts for nothing. `shown` is as of
    `in_own_size`.

    Raises:
      UserError: they are more than LARGEST bytes.
    """
    images, parts, ids, groups = [], [], [], []
    for index in range(len(dataset)):
        image, mask = native(dataset, index, None, shown), dataset.labels[index].read()
        for corner in corners(image.shape[:2], window, overlap):
            images.append(np.array(cut(image, corner, window)))
            part = np.full(window, NOT_COUNTED, np.uint8)
            own = mask[corner[0] :, corner[1] :][: window[0], : window[1]]
            part[: own.shape[0], : own.shape[1]] = own
            parts.append(MaskPixels(part))
            ids.append(f'{dataset.ids[index]} {corner[0]},{corner[1]}')
            groups.append(dataset.groups[index] if len(dataset.groups) else '')
        if len(images) * images[-1].nbytes > LARGEST:
            raise UserError(
                f'{dataset.name}: its windows are more than {LARGEST / 2**30:g} GiB; train on '
                'fewer images, or cut them into files and leave data.sliding out'
            )
    if not images:
        return dataset
    return dataclasses.replace(
        dataset,
        kind='image',
        inputs=np.stack(images),
        labels=masks(parts),
        ids=ids,
        groups=groups if len(dataset.groups) else (),
    )
