"""Segmentation metrics from counts over a set of images: mIoU, Dice, accuracy, boundary F1.

All are functions of counts that add up over images, (.., 3, classes): pixels answered right, of the
label, of the answer; and (.., 4, classes) as `boundary_counts` gives them. A class that occurs in
neither labels nor answers is left out of a mean: it is NaN. Per-set values are not means of
per-image ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

Counts = np.ndarray


def iou(counts: Counts) -> Float[np.ndarray, '*axes classes']:
    """Intersection over union of each class: tp / (tp + fp + fn).

    >>> iou(np.array([[1, 0, 0], [2, 1, 0], [1, 2, 0]])).tolist()
    [0.5, 0.0, nan]
    """
    right, label, answer = _parts(counts)
    return _ratio(right, label + answer - right)


def dice(counts: Counts) -> Float[np.ndarray, '*axes classes']:
    """2 tp / (2 tp + fp + fn) of each class: the F1 of its pixels."""
    right, label, answer = _parts(counts)
    return _ratio(2 * right, label + answer)


def pixel_accuracy(counts: Counts) -> Float[np.ndarray, '*axes']:
    """The share of counted pixels that are answered right; NaN where none is counted."""
    right, label, _ = _parts(counts)
    return _ratio(right.sum(axis=-1), label.sum(axis=-1))


def boundary_f1(counts: Counts) -> Float[np.ndarray, '*axes classes']:
    """Of each class, from precision and recall of boundary pixels; NaN without any boundary."""
    near, all_, found, there = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    precision, recall = _ratio(near, all_), _ratio(found, there)
    total = np.nan_to_num(precision) + np.nan_to_num(recall)
    both = 2 * np.nan_to_num(precision) * np.nan_to_num(recall)
    return np.where(all_ + there > 0, both / np.maximum(total, 1e-300), np.nan)


def mean(values: Float[np.ndarray, '*axes classes']) -> Float[np.ndarray, '*axes']:
    """Over the classes that are defined; NaN where none is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _parts(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right, label, answer = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    return right, label, answer


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
