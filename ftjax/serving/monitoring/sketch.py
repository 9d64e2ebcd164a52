"""What is kept of the answers of one window of time: counts, sums and a sample, of bounded size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ftjax.serving.bundle.answer_forms.answer_form import Told
from ftjax.serving.bundle.reference import Reference, place_of
from ftjax.serving.bundle.signature import Signature
from ftjax.serving.monitoring.traffic_rows import Rows

MOST_ROWS, MOST_BYTES = 512, 2**22
"""Examples in a window's sample, and bytes of their features: whichever is less."""
SIZE_BINS = 33
"""Bin 0 counts values below 1, bin b those from 2**(b - 1) to below 2**b."""


def sample_size(width: int) -> int:
    """Examples that a window's sample holds, of features of a width.

    >>> sample_size(64), sample_size(2**16)
    (512, 16)
    """
    return max(16, min(MOST_ROWS, MOST_BYTES // (4 * width)))


@dataclasses.dataclass(frozen=True)
class Answered:
    """One answer, as a sketch counts it."""

    id: str
    value: float
    best: int
    """The class answered, of several labels the most probable; or -1."""
    classes: Sequence[int]
    """All that were answered."""
    features: np.ndarray
    measures: np.ndarray


def answered(
    signature: Signature, id: str, told: Told, features: np.ndarray, measures: np.ndarray
) -> Answered:
    """An answer as a sketch counts it.

    Args:
      signature: of the bundle.
      id: request and number of the input.
      told: the answer in short.
      features: (width,).
      measures: of the input.
    """
    names = signature.class_names
    classes = [place_of(names, name) for name in told.classes]
    return Answered(id, told.value, place_of(names, told.best), classes, features, measures)


class Sketch:
    """Counts, sums and a sample of the answers that `note` is given.

    The sample holds at most one answer of a request, as those of one request may be alike. It is
    Vitter's algorithm R: each set of so many requests is equally probable, whatever is in the
    examples. Source: J. Vitter (1985), Random sampling with a reservoir, 10.1145/3147.3165.
    """

    def __init__(self, reference: Reference, classes: int, seed: int):
        """`classes` is 0 for answers that are no classes."""
        width = reference.features.shape[1]
        self.edges = reference.edges
        self.names = reference.measure_names
        self.seen = 0
        """Answers with finite features."""
        self.requests = 0
        """That had such an answer."""
        self.unusable = 0
        """Answers whose features or value were not finite: counted, in no statistic."""
        self.histogram = np.zeros(len(self.edges) + 1, np.int64)
        """Of the values: below the first edge, between edges, above the last."""
        self.predicted = np.zeros(classes, np.int64)
        self.sums = np.zeros(width, np.float64)
        self.sizes = np.zeros((len(self.names), SIZE_BINS), np.int64)
        self._rows = Rows.empty(width, len(self.names), sample_size(width))
        self._ids = [''] * len(self._rows)
        self._random = np.random.default_rng(seed)

    def note(self, answers: Sequence[Answered]) -> None:
        """Counts the answers to one request."""
        usable: list[Answered] = []
        for one in answers:
            if not (np.isfinite(one.features).all() and np.isfinite(one.value)):
                self.unusable += 1
                continue
            self.sums += one.features
            # The last edge belongs to the last bin, as in np.histogram.
            place = int(np.searchsorted(self.edges, one.value, 'right'))
            self.histogram[place - (one.value == self.edges[-1])] += 1
            for chosen in one.classes:
                self.predicted[chosen] += 1
            # Plain floats: for a few numbers arrays take several times as long.
            for measure, size in enumerate(one.measures.tolist()):
                if size == size:  # not NaN
                    power = math.frexp(size)[1]
                    self.sizes[measure, min(max(power, 0), SIZE_BINS - 1)] += 1
            usable.append(one)
            self.seen += 1
        if usable:
            alone = len(usable) == 1
            self._keep(usable[0 if alone else int(self._random.integers(len(usable)))])
            self.requests += 1

    def _keep(self, one: Answered) -> None:
        place = self.requests
        if place >= len(self._rows):
            place = int(self._random.integers(self.requests + 1))
            if place >= len(self._rows):
                return
        rows = self._rows
        rows.features[place], rows.values[place] = one.features, one.value
        rows.answers[place], rows.measures[place] = one.best, one.measures
        self._ids[place] = one.id

    def sample(self) -> tuple[Rows, tuple[str, ...]]:
        """Copies of the examples in the sample, and their ids."""
        filled = np.arange(min(self.requests, len(self._rows)))
        return self._rows.take(filled), tuple(self._ids[: len(filled)])
