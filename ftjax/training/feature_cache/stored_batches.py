"""Batches of stored features: those of the streams they stand in for, entered at the cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ftjax.data import EvalBatches, TrainStream
from ftjax.data.streams.loader import Batch
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

    def __iter__(self) -> Iterator[Batch]:
        loader, size = self.batches.loader, self.batches.batch_size
        order = loader.order()
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            batch = loader.assemble(rows, self.features.take(rows), size)
            yield loader.for_evaluation(batch)
