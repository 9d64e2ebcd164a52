"""What is counted of one image: pixels by class and answer, and the pixels of boundaries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.masks.mask_values import NOT_COUNTED

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, UInt8

TOLERANCE = 0.0075
"""How far boundaries may lie apart, as a share of the image's diagonal; at least one pixel."""


def confusion(
    label: UInt8[np.ndarray, 'rows columns'], answer: Int[np.ndarray, 'rows columns'], classes: int
) -> Int[np.ndarray, 'classes classes']:
    """Pixels by class of the label (rows) and of the answer (columns).

    A pixel counts if its label says a class, whatever the answer is.

    >>> label, answer = np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 1]])
    >>> confusion(label, answer, 2).tolist()
    [[1, 0], [1, 0]]
    """
    counted = label != NOT_COUNTED
    pairs = label[counted].astype(np.int64) * classes + answer[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def tolerance(shape: tuple[int, ...]) -> int:
    """Pixels that a boundary may be off in an image of (rows, columns).

    >>> tolerance((480, 640)), tolerance((24, 24))
    (6, 1)
    """
    return max(1, round(TOLERANCE * math.hypot(*shape[:2])))


def boundary(
    mask: Int[np.ndarray, 'rows columns'], counted: Bool[np.ndarray, 'rows columns']
) -> Bool[np.ndarray, 'rows columns']:
    """Pixels with a neighbour, above, below or beside, of another class; both are counted.

    The border of the image is no boundary, nor is that of pixels that are not counted.
    """
    found = np.zeros(mask.shape, bool)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = (mask[here] != mask[there]) & counted[here] & counted[there]
        found[here] |= differ
        found[there] |= differ
    return found


def boundary_counts(
    label: UInt8[np.ndarray, 'rows columns'], answer: Int[np.ndarray, 'rows columns'], classes: int
) -> Int[np.ndarray, '4 classes']:
    """Of each class: boundary pixels of the answer that are near one of the label, and all of them.

    Then the same of the label. Near is a Euclidean distance of at most `tolerance`. Source: Csurka
    et al. 2013, BMVC, "What is a good evaluation measure for semantic segmentation?", section 3.
    """
    from scipy import ndimage

    counted, most = label != NOT_COUNTED, tolerance(label.shape)
    edges = [(boundary(mask, counted), mask) for mask in (answer, label)]
    found = np.zeros((4, classes), np.int64)
    for number in np.unique(np.concatenate([mask[edge] for edge, mask in edges])):
        ours, theirs = (edge & (mask == number) for edge, mask in edges)
        for row, (own, other) in ((0, (ours, theirs)), (2, (theirs, ours))):
            found[row + 1, number] = own.sum()
            if own.any() and other.any():
                far = np.asarray(ndimage.distance_transform_edt(~other))
                found[row, number] = (far[own] <= most).sum()
    return found
