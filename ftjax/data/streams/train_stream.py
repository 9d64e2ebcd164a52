"""Training batches: every epoch a new permutation, a pure function of (seed, step)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.augmentation import parse_augment
from ftjax.data.dataset import Dataset
from ftjax.data.streams.loader import Batch, Loader
from ftjax.data.streams.sampler import Order, class_order
from ftjax.data.text.bucket_order import bucket_order
from ftjax.data.text.packing import rows_needed
from ftjax.errors import UserError

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing
    from ftjax.preprocessing.texts import TextPreprocessing


STEP_TAKES = ('inputs', 'labels', 'mask', 'columns')
"""What of a training batch a step takes; `columns` only where the data set has any."""


class TrainStream:
    """An endless stream of shuffled batches that can be entered at any step.

    An epoch sees every example at most once; what does not fill a batch is left out of it.
    A set smaller than a batch fills it by going round its permutation again. Texts of like
    length share a batch, which is padded to the smallest bucket that holds it.

    Args:
      dataset: the training split.
      batch_size: examples a step.
      seed: of the order.
      image_size: (height, width); None for the preprocessing's or the images' own.
      preprocessing: the network's; decides channels, filter and crop, or how texts become
        tokens.
      augmentation: of texts, as data.augment; images are augmented on the device, not here.
      sampler: as data.sampler; an epoch then sees an example more than once, or not at all.
      row_unit: of packed texts, what the rows of a batch are a multiple of.

    Raises:
      UserError: if the data set is empty, or an augmentation is not one of texts.

    >>> data = Dataset(name='d', kind='text', inputs='abcd', labels=[0] * 4, class_names='x')
    >>> stream = TrainStream(data, batch_size=2, seed=0)
    >>> stream.steps_per_epoch, sorted(i for s in (0, 1) for i in stream.batch(s)['index'].tolist())
    (2, [0, 1, 2, 3])
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        image_size: tuple[int, int] | None = None,
        preprocessing: Preprocessing | TextPreprocessing | None = None,
        augmentation: str = 'none',
        sampler: str = '',
        row_unit: int = 1,
    ):
        if not len(dataset):
            raise UserError(f'{dataset.name}: no examples to train on')
        if batch_size < 1:
            raise UserError(f'data.batch_size is {batch_size}; expected at least 1')
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self._loader = Loader(dataset, image_size, preprocessing)
        self._todo, self._run = parse_augment(augmentation), 1
        self._rows: np.ndarray | None = None
        self.packed = dataset.packed and self._loader.texts is not None
        # Few numbers of rows: a program is compiled for each.
        self._unit = row_unit * max(1, batch_size // (8 * row_unit))
        if self._loader.texts is not None:
            self._loader.texts.check_augmentation(self._todo)
        self._drawn: Order | None = None
        if sampler:
            draws = self.steps_per_epoch * batch_size
            self._drawn = class_order(sampler, dataset.labels, draws, seed)
        if dataset.kind == 'table' and self._todo:
            raise UserError(f'data.augment {augmentation!r}: a table takes no augmentation')
        # Grain's threads ask for neighbouring numbers: two epochs are in use at most.
        self._order = functools.lru_cache(maxsize=3)(self._permutation)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch; at least 1."""
        return max(1, len(self.dataset) // self.batch_size)

    def in_runs(self, steps: int) -> TrainStream:
        """The same examples, texts ordered and padded so that runs of steps have one shape.

        Runs are counted from an epoch's start; images need no other order.
        """
        if self._loader.texts is None or steps == self._run:
            return self
        other = copy.copy(self)
        other._run = steps
        other._order = functools.lru_cache(maxsize=3)(other._permutation)
        return other

    def shared(self, rows: np.ndarray) -> TrainStream:
        """The same batches, of which only these rows are read: one process's of several.

        `index` stays that of the whole batch.
        """
        if self.packed:
            raise UserError('data.packing: the processes of a run cannot share packed rows')
        other = copy.copy(self)
        other._rows = rows
        return other

    def own(self, values: np.ndarray) -> np.ndarray:
        """What of a whole batch's values is read here."""
        return values if self._rows is None else values[self._rows]

    @property
    def loader(self) -> Loader:
        """What reads the examples."""
        return self._loader

    def positions(self, step: int) -> np.ndarray:
        """Which examples of the split a step (from 0) sees: int64 (batch_size,)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        first = within * self.batch_size
        return self._order(epoch)[first : first + self.batch_size]

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0): `inputs`, `labels`, `index`, `mask` (all ones)."""
        if self.packed:
            return self._packed(step)
        rows = self.own(self.positions(step))
        if self._loader.texts is None:
            draw = self.seed, step, self._todo
            return self.completed(self._loader.batch(rows, draw=draw), step)
        epoch, within = divmod(step, self.steps_per_epoch)
        order, first = self._order(epoch), within * self.batch_size
        run = self._run * self.batch_size  # one length for all of it
        length = self._loader.texts.length(order[first // run * run :][:run])
        draw = self.seed, step, self._todo
        return self.completed(self._loader.batch(rows, length=length, draw=draw), step)

    def _packed(self, step: int) -> Batch:
        """The texts of a step in as many rows as any step of its run needs."""
        epoch, within = divmod(step, self.steps_per_epoch)
        first = within // self._run * self._run
        steps = range(first, min(first + self._run, self.steps_per_epoch))
        texts, start = self._loader.texts, epoch * self.steps_per_epoch
        lengths = [texts.sequences.lengths[self.positions(start + each)] for each in steps]
        rows = rows_needed(lengths, texts.preprocessing.max_length, self._unit)
        return self._loader.packed(self.positions(step), rows)

    def completed(self, batch: Batch, step: int) -> Batch:
        """A batch of the rows that are read here: with the `index` of the whole one, and columns.

        `columns` are those of the data set, {name: float32 (rows, ..)}, where it has any.
        """
        columns, positions = self.dataset.columns, self.positions(step)
        if columns:
            rows = self.own(positions)
            found = {name: column.rows(rows) for name, column in columns.items()}
            batch = {**batch, 'columns': found}
        return batch if self._rows is None else {**batch, 'index': positions.astype(np.int32)}

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """The batches from a step on, for ever: equal to batch(start_step), batch(.. + 1), ..

        Image files are read ahead until every one is decoded and kept.
        """
        step = start_step
        if self._loader.waits:
            from ftjax.data.streams.prefetch import read_ahead

            size = self.batch_size if self._rows is None else len(self._rows)
            ahead = read_ahead(self._loader, self._position, start_step * size, None, size)
            for batch in ahead:
                yield self.completed(batch, step)
                step += 1
                if not self._loader.waits:
                    break
        while True:
            yield self.batch(step)
            step += 1

    def _position(self, number: int) -> int:
        if self._rows is not None:
            step, place = divmod(number, len(self._rows))
            return int(self.positions(step)[self._rows[place]])
        epoch, within = divmod(number, self.steps_per_epoch * self.batch_size)
        return int(self._order(epoch)[within])

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        if self._drawn is None:
            order = rng.permutation(len(self.dataset))
            order = np.resize(order, self.steps_per_epoch * self.batch_size)
        else:
            order = self._drawn(epoch)
        if self._loader.texts is None or self.packed:
            return order
        buckets = self._loader.texts.buckets
        return bucket_order(order, buckets, self.batch_size, self._run, rng)
