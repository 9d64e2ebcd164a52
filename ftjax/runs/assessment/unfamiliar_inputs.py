"""How well a trained network's scores tell other inputs from those of its own test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ftjax.config import SECTIONS, section
from ftjax.data.dataset import Dataset, Splits
from ftjax.data.load import load_data, load_test
from ftjax.data.other_source import NOT_OF_OTHERS, same_source
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import is_named
from ftjax.errors import UserError
from ftjax.evaluation.calibration.out_of_distribution import Gaussians, energy, separation
from ftjax.registry import parts
from ftjax.runs.assessment.examination import outputs_on
from ftjax.runs.prediction.new_inputs import Outputs, outputs_of_source
from ftjax.runs.prediction.trained import Trained

MOST = 5000
"""Examples of each set whose embeddings are held."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Energy of the outputs, and distance of a stage's embeddings from the training classes."""

    trained: Trained
    stage: str
    gaussians: Gaussians
    """Of the training split."""
    familiar: dict[str, np.ndarray]
    """Of the test split, by name of the score."""

    @classmethod
    def fit(cls, trained: Trained, own: Splits) -> Scores:
        """From the training and the test split of the network's run.

        Raises:
          UserError: the task has not one class an example; no test split.
        """
        if not own.label_kind.one_class:
            raise UserError(
                f'scores of unfamiliar inputs need one class an example; the task is {own.task}'
            )
        if not len(own.test):
            raise UserError(f'{own.test.name}: there is no test split to tell other inputs from')
        stage = trained.network.stages[-2]
        gaussians = Gaussians.fit(*outputs_on(trained, own.train, stage, MOST))
        made = cls(trained, stage, gaussians, {})
        return dataclasses.replace(made, familiar=made._of_data(own.test))

    def against(self, source: str, base: DataSettings) -> dict[str, object]:
        """AUROC of each score for other inputs: at most MOST of them.

        Args:
          source: a source of labelled data (`folder:PATH`, `digits`), whose labels are not looked
            at, or unlabelled inputs as `read_inputs` takes them.
          base: the data of the network's run: how a source is read.
        """
        if source.partition(':')[0] in parts('source'):
            given = {**dataclasses.asdict(base), 'class_names': (), 'source': source}
            given |= {'examples_per_class': None, 'val_per_class': None}
            own = same_source(source, base.source)
            given |= {} if own else NOT_OF_OTHERS
            settings = section(SECTIONS['data'], given, 'data')
            whole = is_named(source) and not own
            data = load_test(settings) if whole else load_data(settings).test
            found = self._of_data(data)
        else:
            outputs, features = (
                _first(outputs_of_source(self.trained, source, lambda _: None, stage=stage))
                for stage in (None, self.stage)
            )
            found = self._scores(outputs, features)
        return {name: separation(self.familiar[name], found[name]) for name in found}

    def _of_data(self, data: Dataset) -> dict[str, np.ndarray]:
        outputs, features = (
            outputs_on(self.trained, data, stage, MOST)[0] for stage in (None, self.stage)
        )
        return self._scores(outputs, features)

    def _scores(self, outputs: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        return {'energy': energy(outputs), 'mahalanobis': self.gaussians.distance(features)}


def _first(found: Iterable[Outputs]) -> np.ndarray:
    """The first MOST rows; no more inputs are read than are needed."""
    values: list[np.ndarray] = []
    for part in found:
        values.append(part.values)
        if sum(map(len, values)) >= MOST:
            break
    return np.concatenate(values)[:MOST]
