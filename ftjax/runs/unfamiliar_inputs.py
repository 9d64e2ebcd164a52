"""How well a trained network's scores tell other inputs from those of its own test split."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset, Splits
from ftjax.evaluation.out_of_distribution import Gaussians, energy, separation
from ftjax.runs.examination import embeddings
from ftjax.runs.new_inputs import outputs_of_source
from ftjax.runs.trained import Trained

MOST = 5000
"""Examples of each set whose embeddings are held."""


def scores_of(
    trained: Trained, own: Splits, test: Dataset, test_outputs: np.ndarray, stage: str = ''
) -> Scores:
    """Scores fitted on a run's training split, with those of its test split."""
    stage = stage or trained.network.stages[-2]
    if test_outputs.ndim != 2 or not own.label_kind.one_class:
        return Scores(trained, stage, None, {})
    gaussians = Gaussians.fit(*embeddings(trained, own.train, stage, MOST))
    familiar = {
        'energy': energy(test_outputs),
        'mahalanobis': gaussians.distance(embeddings(trained, test, stage, MOST)[0]),
    }
    return Scores(trained, stage, gaussians, familiar)


class Scores:
    """Energy of the outputs, and distance of a stage's embeddings from the training classes."""

    def __init__(
        self,
        trained: Trained,
        stage: str,
        gaussians: Gaussians | None,
        familiar: dict[str, np.ndarray],
    ):
        self.trained, self.stage = trained, stage
        self.gaussians, self.familiar = gaussians, familiar

    def against(self, dataset: Dataset, outputs: np.ndarray) -> dict[str, Any]:
        """AUROC of each score for a labelled data set; {} for a task that has no scores."""
        if self.gaussians is None:
            return {}
        return self._told(outputs, embeddings(self.trained, dataset, self.stage, MOST)[0])

    def against_inputs(self, source: str) -> dict[str, Any]:
        """The same for inputs without labels: at most the first MOST of them."""
        if self.gaussians is None:
            return {}
        both = []
        for stage in (None, self.stage):
            values, count = [], 0
            for part in outputs_of_source(self.trained, source, lambda _: None, stage=stage):
                values.append(part.values)
                count += len(part.ids)
                if count >= MOST:
                    break
            both.append(np.concatenate(values)[:MOST])
        return self._told(*both)

    def _told(self, outputs: np.ndarray, features: np.ndarray) -> dict[str, Any]:
        assert self.gaussians is not None
        return {
            'energy': separation(self.familiar['energy'], energy(outputs)),
            'mahalanobis': separation(
                self.familiar['mahalanobis'], self.gaussians.distance(features)
            ),
        }
