"""Whether the contents of two examples confirm what their features propose."""

from __future__ import annotations

import numpy as np

from ftjax.data.audit.examples import Examples
from ftjax.data.audit.measures.keys import text_key
from ftjax.data.audit.measures.perceptual import aligned_likeness
from ftjax.data.audit.measures.pictures import thumbnails, too_coarse
from ftjax.data.audit.measures.shingles import jaccard

SEEN_LIKENESS = 0.8
"""Correlation of pixels, at the best of some crops, that confirms a pair of like features."""
SHARED_SHINGLES = 0.3
"""Jaccard index that does for texts."""


def confirmable(examples: Examples) -> bool:
    """Whether contents can confirm a near copy: not those of tables and of very small images."""
    parts = [part for _, part, _ in examples.blocks()]
    kinds = ('text', 'image', 'image_file', 'tfds')
    return parts[0].kind in kinds and not any(map(too_coarse, parts))


def alike(examples: Examples, pairs: np.ndarray) -> np.ndarray:
    """(k,) bool: whether the pixels or shingles of pairs (k, 2) are at all those of near copies.

    Only the examples of the pairs are read.
    """
    if not len(pairs):
        return np.zeros(0, bool)
    needed, at = np.unique(pairs, return_inverse=True)
    at = at.reshape(pairs.shape)
    parts = [
        part.take(needed[(needed >= rows.start) & (needed < rows.stop)] - rows.start)
        for _, part, rows in examples.blocks()
    ]
    parts = [part for part in parts if len(part)]
    if parts[0].kind == 'text':
        texts = [text_key(text) for part in parts for text in part.inputs]
        return jaccard(texts, at) >= SHARED_SHINGLES
    thumbs = [thumbnails(part, True) for part in parts]
    known = [one for one in thumbs if one is not None]
    if len(known) < len(parts):
        return np.zeros(len(pairs), bool)
    pictures = np.concatenate(known)
    left, right = pictures[at[:, 0]], pictures[at[:, 1]]
    best = np.maximum(aligned_likeness(left, right), aligned_likeness(left, right[:, :, ::-1]))
    return best >= SEEN_LIKENESS
