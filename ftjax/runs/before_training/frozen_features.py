"""One row of features an example, as a pretrained network has them before its head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftjax.data import Dataset
from ftjax.data.streams.loader import Loader
from ftjax.evaluation.predict import mean_over_positions
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.training.feature_cache.compute import computed

POOLS = ('pool', 'pooler')
"""Stages before a head that pool: of texts the mean of all tokens says more than a pooler."""


def feature_stage(network: Network) -> str:
    """The stage whose inputs are the features: the head, or a pooling stage before it."""
    *_, before, last = network.stages
    return before if before in POOLS else last


def frozen_features(
    network: Network,
    variables: Variables,
    datasets: Sequence[Dataset],
    preprocessing: Preprocessing | TextPreprocessing | None,
    image_size: tuple[int, int] | None = None,
    report: Callable[[int], None] = lambda done: None,
    cut: str = '',
) -> np.ndarray:
    """Features (n, d), float32, of the examples of data sets one after the other.

    What reaches the cut is averaged over positions, of texts over real tokens.

    Args:
      network, variables: frozen, in evaluation mode.
      datasets: their inputs are what the network takes.
      preprocessing: the network's.
      image_size: (height, width); None for the preprocessing's.
      report: told how many examples are done, from time to time.
      cut: stage whose inputs are the features; '' for that of `feature_stage`.
    """
    cut, found, done = cut or feature_stage(network), [], 0
    for dataset in datasets:
        if not len(dataset):
            continue
        loader = Loader(dataset, image_size, preprocessing)
        rows: dict[int, np.ndarray] = {}
        for positions, leaves in computed(network, variables, cut, loader, preprocessing):
            hidden = np.asarray(leaves['hidden'], np.float32)
            rows_of = mean_over_positions(hidden, leaves.get('mask'))
            rows |= dict(zip(positions.tolist(), rows_of, strict=True))
            done += len(positions)
            report(done)
        found.append(np.stack([rows[i] for i in range(len(dataset))]))
    return np.concatenate(found)
