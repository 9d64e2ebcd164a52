"""Vectors of new texts as columns of a table, and how near those of one row are to each other."""

from __future__ import annotations

import numpy as np

from ftjax.evaluation.unit_vectors import unit
from ftjax.tasks.answers import Columns


def vector_columns(outputs: np.ndarray) -> Columns:
    """`output_0`, .. of single texts (n, dim); `text1_0`, .., `text2_0`, .. of several (n, k, dim).

    >>> list(vector_columns(np.ones((1, 2, 1))))
    ['text1_0', 'text2_0']
    """
    if outputs.ndim == 2:
        return {f'output_{i}': outputs[:, i] for i in range(outputs.shape[1])}
    _, texts, width = outputs.shape
    places = [(text, i) for text in range(texts) for i in range(width)]
    return {f'text{text + 1}_{i}': outputs[:, text, i] for text, i in places}


def cosines_with_first(outputs: np.ndarray) -> np.ndarray:
    """float64 (n, texts - 1): of the vector of each row's first text with those of the others.

    >>> cosines_with_first(np.array([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]])).tolist()
    [[0.0, 1.0]]
    """
    vectors = np.asarray(unit(outputs.astype(np.float32)), np.float64)
    return np.einsum('nd,nkd->nk', vectors[:, 0], vectors[:, 1:])
