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

    def of_rows(self, rows: np.ndarray) -> Iterator[tuple[Batch, int]]:
        """The batches, of each only some rows, and how many of these are no padding.

        They come first. A row beyond a batch is padding, as all are of a process that has none of
        a short last batch. Texts are as long as in the whole batch.

        Args:
          rows: ascending positions in a batch, of one process of several.
        """
        count, size = len(self.dataset), self.batch_size

        def position_of(number: int) -> int:
            batch, place = divmod(number, len(rows))
            first, row = batch * size, int(rows[place])
            there = row < min(size, count - first)
            return int(self._order[first + row if there else first])

        ahead: Iterator[Batch] | None = None
        if self.loader.waits:
            from ftjax.data.streams.prefetch import read_ahead

            ahead = read_ahead(self.loader, position_of, 0, len(self) * len(rows), len(rows))
        for number, first in enumerate(range(0, count, size)):
            whole = self._order[first : first + size]
            if ahead is None:
                own = range(number * len(rows), (number + 1) * len(rows))
                texts = self.loader.texts
                length = None if texts is None else texts.length(whole)
                batch = self.loader.batch(np.array([*map(position_of, own)]), length=length)
            else:
                batch = next(ahead)
            yield self.loader.for_evaluation(batch), int((rows < len(whole)).sum())


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
