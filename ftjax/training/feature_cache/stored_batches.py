"""Batches of stored features: those of the streams they stand in for, entered at the cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ftjax.data import EvalBatches, TrainStream
from ftjax.data.streams.loader import Batch, Loader
from ftjax.training.feature_cache.store import Features


class FeatureStream:
    """The batches of a TrainStream with features for inputs.

    Of several views an example goes through one after the other, epoch by epoch, from one
    that the run's seed draws.
    """

    def __init__(self, stream: TrainStream, views: Sequence[Features]):
        self.stream, self.views = stream, views
        rng = np.random.default_rng((stream.seed, 7))
        self.first = rng.integers(len(views), size=len(stream.dataset))

    def batch(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        rows, loader = self.stream.own(self.stream.positions(step)), self.stream.loader
        if len(self.views) == 1:
            return self.stream.completed(loader.assemble(rows, self.views[0].take(rows)), step)
        epoch = step // self.stream.steps_per_epoch
        turns = (self.first[rows] + epoch) % len(self.views)
        parts = [view.take(rows[turns == number]) for number, view in enumerate(self.views)]
        back = np.argsort(np.argsort(turns, kind='stable'))
        inputs = jax.tree.map(lambda *some: np.concatenate(some)[back], *parts)
        return self.stream.completed(loader.assemble(rows, inputs), step)

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """The batches from a step on, for ever."""
        while True:
            yield self.batch(start_step)
            start_step += 1


@dataclasses.dataclass(frozen=True)
class FeatureBatches:
    """Evaluation batches with features for inputs: the same examples in the same order."""

    batches: EvalBatches
    features: Features

    @property
    def loader(self) -> Loader:
        """What reads the labels."""
        return self.batches.loader

    @property
    def batch_size(self) -> int:
        """Examples a batch, padding included."""
        return self.batches.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order, size = self.loader.order(), self.batch_size
        for first in range(0, len(order), size):
            yield self._batch(order[first : first + size], size)

    def of_rows(self, rows: np.ndarray) -> Iterator[tuple[Batch, int]]:
        """As `EvalBatches.of_rows`."""
        for positions, count in self.batches.positions_of_rows(rows):
            yield self._batch(positions), count

    def without_inputs(self) -> Iterator[Batch]:
        """As `EvalBatches.without_inputs`."""
        return self.batches.without_inputs()

    def _batch(self, positions: np.ndarray, size: int | None = None) -> Batch:
        inputs = self.features.take(positions)
        return self.loader.for_evaluation(self.loader.assemble(positions, inputs, size))
