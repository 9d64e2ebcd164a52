"""Evaluation batches: every example once, the last batch padded and masked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.streams.loader import Batch, Loader
from ftjax.errors import UserError

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing
    from ftjax.preprocessing.texts import TextPreprocessing


class EvalBatches:
    """Iterates over a split, as often as wanted; decoded images and tokens are kept.

    Images come in the split's order, texts by length, so that few batches are long: 'index'
    says which examples a batch holds.
    """

    def __init__(self, loader: Loader, batch_size: int):
        self.dataset, self.batch_size = loader.dataset, batch_size
        self.loader = loader
        self._order = loader.order()

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, size = len(self.dataset), self.batch_size
        if self.loader.waits:
            from ftjax.data.streams.prefetch import read_ahead

            ahead = read_ahead(self.loader, int, 0, count, size)
            yield from map(self.loader.for_evaluation, ahead)
            return
        for first in range(0, count, size):
            batch = self.loader.batch(self._order[first : first + size], size)
            yield self.loader.for_evaluation(batch)

    def without_inputs(self) -> Iterator[Batch]:
        """The batches with labels, index and mask alone: no image and no text is read.

        ValueError where labels are of the tokens of texts.
        """
        if self.loader.labels_need_texts:
            raise ValueError(f'{self.dataset.name}: labels of tokens, which have to be read')
        for first in range(0, len(self.dataset), self.batch_size):
            own = self._order[first : first + self.batch_size]
            batch = self.loader.assemble(own, {}, self.batch_size)
            yield self.loader.for_evaluation({n: x for n, x in batch.items() if n != 'inputs'})

    def of_rows(self, rows: np.ndarray) -> Iterator[tuple[Batch, int]]:
        """The batches, of each only some rows, and how many of these are no padding.

        They come first. A row beyond a batch is padding, as all are of a process that has none of
        a short last batch. Texts are as long as in the whole batch.

        Args:
          rows: ascending positions in a batch, of one process of several.
        """
        own, size, texts = [*self.positions_of_rows(rows)], self.batch_size, self.loader.texts
        ahead: Iterator[Batch] | None = None
        if self.loader.waits:
            from ftjax.data.streams.prefetch import read_ahead

            flat = np.concatenate([positions for positions, _ in own]).tolist()
            ahead = read_ahead(self.loader, flat.__getitem__, 0, len(flat), len(rows))
        for number, (positions, count) in enumerate(own):
            if ahead is None:
                whole = self._order[number * size : (number + 1) * size]
                length = None if texts is None else texts.length(whole)
                batch = self.loader.batch(positions, length=length)
            else:
                batch = next(ahead)
            yield self.loader.for_evaluation(batch), count

    def positions_of_rows(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Of each batch the examples in `rows`, as of `of_rows`, and how many are no padding."""
        for first in range(0, len(self.dataset), self.batch_size):
            whole = self._order[first : first + self.batch_size]
            there = rows < len(whole)
            yield whole[np.where(there, rows, 0)], int(there.sum())


def eval_batches(
    dataset: Dataset,
    batch_size: int,
    image_size: tuple[int, int] | None = None,
    preprocessing: Preprocessing | TextPreprocessing | None = None,
) -> EvalBatches:
    """Batches of exactly `batch_size` that hold every example once, where mask is 1.

    Sums weighted by the mask equal sums over the whole array. Make it once and iterate over
    it in every evaluation: images decoded the first time are kept.

    Args:
      dataset: a split; an empty one gives no batches.
      batch_size: examples a batch, padding included.
      image_size: (height, width); None for the preprocessing's or the images' own.
      preprocessing: the network's; decides channels, filter and crop, or how texts become
        tokens.

    >>> data = Dataset(name='d', kind='text', inputs='abc', labels=[0] * 3, class_names='x')
    >>> [batch['mask'].tolist() for batch in eval_batches(data, 2)]
    [[1.0, 1.0], [1.0, 0.0]]
    """
    if batch_size < 1:
        raise UserError(f'data.eval_batch_size is {batch_size}; expected at least 1')
    return EvalBatches(Loader(dataset, image_size, preprocessing), batch_size)
