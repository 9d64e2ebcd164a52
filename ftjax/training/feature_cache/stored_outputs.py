"""Outputs of frozen stages on a split: what they are of, stored and found again by that."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Hashable, Mapping

import numpy as np

from ftjax.data.streams.loader import Loader
from ftjax.distributed.process_group import several
from ftjax.errors import UserError
from ftjax.io.process.progress import Pace, duration
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.training.feature_cache import compute
from ftjax.training.feature_cache.compute import Shapes
from ftjax.training.feature_cache.key import features_key
from ftjax.training.feature_cache.store import Features, in_files, in_memory

Work = tuple[Network, Variables, str | None, Loader, Preprocessing | TextPreprocessing | None]
_log = logging.getLogger(__name__)
_EVERY = 10.0  # seconds between two lines of a long computation


def silent(done: int) -> None:
    """Tells nobody how many examples are done."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredOutputs:
    """Outputs of the stages before a cut on every example of a split; of all stages with None."""

    network: Network
    variables: Variables
    """Of the stages before the cut."""
    weights: str
    """Their `weights_hash`."""
    cut: str | None
    loader: Loader
    preprocessing: Preprocessing | TextPreprocessing | None
    image_size: tuple[int, int] | None
    augmentation: str = 'none'
    view: int | None = None
    """Number of an augmented view; None for the examples as they are."""
    report: Callable[[int], None] = silent
    """Told how many examples are done, from time to time."""
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    """What computing runs within."""

    @functools.cached_property
    def key(self) -> str:
        """Of all that they depend on."""
        return features_key(
            *(self.network, self.cut, self.weights, self.loader.dataset, self.preprocessing),
            *(self.image_size, self.augmentation, self.view),
        )

    def in_memory(self, shapes: Shapes, most: int) -> Features:
        """Kept in this process; `most` bytes of all such outputs are."""
        return in_memory(self.key, shapes, self._count, most, self._fill, self._probe, self._by)

    def in_files(self, shapes: Shapes, folder: str | os.PathLike[str]) -> Features:
        """Kept in memory-mapped files below a folder; UserError where they cannot be."""
        return in_files(self.key, shapes, self._count, folder, self._fill, self._probe)

    @property
    def _by(self) -> Hashable:
        # Not where texts are augmented: what does it is none of the program. And several processes
        # must all ask for a probe, or none: what each has dropped is its own.
        if several() or (self.view is not None and self.loader.texts is not None):
            return None
        how = self.cut, self.loader, self.preprocessing, self.augmentation, self.view
        return compute.prefix(self.network, *how)

    @property
    def _count(self) -> int:
        return len(self.loader.dataset)

    @property
    def _work(self) -> Work:
        return self.network, self.variables, self.cut, self.loader, self.preprocessing

    def _fill(self, arrays: Mapping[str, np.ndarray]) -> None:
        dataset = self.loader.dataset
        before = dataset.fingerprint
        with self.around():
            compute.compute(*self._work, arrays, self.augmentation, self.view, self.report)
        if dataset.fingerprint != before:
            raise UserError(
                f'{dataset.name}: files changed while features were computed; start again'
            )

    def _probe(self, arrays: Mapping[str, np.ndarray]) -> bool:
        first = next(compute.computed(*self._work, self.augmentation, self.view), None)
        return first is None or compute.agree(arrays, *first)


def reporter(count: int) -> Callable[[int], None]:
    """A function that logs now and then how many of `count` examples are done."""
    pace, began = Pace(count), time.monotonic()
    last = [began]

    def report(done: int) -> None:
        now = time.monotonic()
        pace.mark(done, now - began)
        if now - last[0] >= _EVERY and pace.seconds_left is not None:
            last[0] = now
            _log.info('features %d/%d, %s left', done, count, duration(pace.seconds_left))

    return report
