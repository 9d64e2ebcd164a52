"""Rows of tokens that the texts of an example become: one, or one each of several."""

from __future__ import annotations

import numpy as np

from ftjax.data.text.tokenize import Tokens
from ftjax.errors import UserError
from ftjax.preprocessing.texts import TextPreprocessing


def arranged(texts: np.ndarray, form: str) -> tuple[np.ndarray, int]:
    """(what is tokenised, (rows,) str or (rows, 2) pairs; how many rows in a row are an example).

    Args:
      texts: (N,) str, or (N, k) with k texts an example.
      form: of the preprocessing; not 'words'.

    >>> texts = np.array([['q', 'a', 'b']], object)
    >>> arranged(texts, 'choices')[0].tolist(), arranged(texts, 'apart')[1]
    ([['q', 'a'], ['q', 'b']], 3)
    """
    if form == 'joined' and texts.ndim > 1 and texts.shape[1] != 2:
        raise UserError(f'{texts.shape[1]} texts an example; the network takes one, or a pair')
    if form == 'choices' and texts.ndim == 1:
        raise UserError('single texts; the network takes a text and the choices that it has')
    if texts.ndim == 1 or form == 'joined':
        return texts, 1
    each = texts.shape[1]
    if form == 'apart':
        return texts.reshape(-1), each
    first = np.repeat(texts[:, 0], each - 1)
    return np.stack([first, texts[:, 1:].reshape(-1)], axis=1), each - 1


class TextRows:
    """Tokens of N examples, `each` rows of tokens for one; `buckets` (N,) is its padded length.

    `cut` bool (N,): whether any of its texts lost tokens at `max_length`.
    """

    def __init__(self, tokens: Tokens, each: int, preprocessing: TextPreprocessing):
        self.tokens, self.each, self._pad = tokens, each, preprocessing.pad_id
        bounds = np.array(preprocessing.buckets)
        longest = tokens.lengths.reshape(-1, each).max(axis=1, initial=1)
        self.buckets = bounds[np.searchsorted(bounds, longest)]
        self.cut = tokens.cut.reshape(-1, each).any(axis=1)

    def padded(self, indices: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """As of `Tokens`, (len(indices), length), or (len(indices), each, length) of several."""
        if self.each == 1:
            return self.tokens.padded(indices, length, self._pad)
        rows = (indices[:, None] * self.each + np.arange(self.each)).reshape(-1)
        found = self.tokens.padded(rows, length, self._pad)
        shape = (len(indices), self.each, length)
        return {name: array.reshape(shape) for name, array in found.items()}
