"""Colours of classes, and masks painted over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.masks.mask_values import NOT_COUNTED

if TYPE_CHECKING:
    from jaxtyping import Integer, UInt8

_STRENGTH = 0.55
"""Of the colours over an image."""


def colours(classes: int, palette: Sequence[str] = ()) -> UInt8[np.ndarray, 'classes 3']:
    """Of each class: those of a palette ('#rrggbb'), else colours that are easily told apart.

    The first is black, as a background is in most sets; the others are those of PASCAL VOC, each
    bit of the class in one channel, the lowest bits the strongest.

    >>> colours(3).tolist(), colours(2, ('#000000', '#ff8000')).tolist()
    ([[0, 0, 0], [128, 0, 0], [0, 128, 0]], [[0, 0, 0], [255, 128, 0]])
    """
    if len(palette) >= classes:
        return np.array([tuple(bytes.fromhex(each[1:])) for each in palette[:classes]], np.uint8)
    found = np.zeros((classes, 3), np.uint8)
    for number in range(classes):
        for bit in range(8):
            for channel in range(3):
                found[number, channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return found


def painted(
    image: np.ndarray,
    mask: Integer[np.ndarray, 'rows columns'],
    of_classes: UInt8[np.ndarray, 'classes 3'],
) -> UInt8[np.ndarray, 'rows columns 3']:
    """An image (rows, columns, 1 or 3), uint8 or float in 0..1, with its mask over it.

    Pixels that are not counted show the image alone.
    """
    if image.dtype != np.uint8:
        image = np.rint(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    under = np.broadcast_to(image[..., :3], (*image.shape[:2], 3)).astype(np.float32)
    over = of_classes[np.where(mask == NOT_COUNTED, 0, mask)].astype(np.float32)
    share = np.where(mask == NOT_COUNTED, 0, _STRENGTH)[..., None]
    return np.rint(under + share * (over - under)).astype(np.uint8)
