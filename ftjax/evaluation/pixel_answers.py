"""The class of each pixel of an image, and how much of it each class has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftjax.models.layers.resize import resized_on_host

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def answered(
    logits: Float[np.ndarray, 'rows columns classes'], size: tuple[int, ...]
) -> Int[np.ndarray, 'height width']:
    """The class of the highest logit of each pixel, logits brought to (height, width) before."""
    return resized_on_host(np.asarray(logits, np.float32), (size[0], size[1])).argmax(axis=-1)


def class_shares(
    logits: Float[np.ndarray, 'n rows columns classes'],
) -> Float[np.ndarray, 'n classes']:
    """The share of the positions of each image that each class has.

    >>> class_shares(np.array([[[[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [3.0, 0.0]]]])).tolist()
    [[0.5, 0.5]]
    """
    best = logits.argmax(axis=-1).reshape(len(logits), -1)
    return np.stack([(best == c).mean(axis=1) for c in range(logits.shape[-1])], axis=1)
