"""A trained network from a folder: answers, embeddings, metrics on labelled data."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from ftjax.data.in_python import test_in_python
from ftjax.evaluation.metric import MetricValues
from ftjax.runs.assessment.examination import examine
from ftjax.runs.assessment.other_data import other_data, with_classes_of
from ftjax.runs.prediction.answering import Answers, answers_to, features_of
from ftjax.runs.prediction.calibration_file import read_calibration
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.training.loop.metrics_log import read_history


class Loaded:
    """A trained network from a folder: answers, embeddings, metrics on labelled data."""

    def __init__(self, trained: Trained):
        self.trained = trained

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the outputs; () where nobody said."""
        return self.trained.class_names

    @property
    def history(self) -> list[dict[str, Any]]:
        """A dict a validation of its run, of averaged ones the first; [] where there is no run."""
        run = self.trained.run
        return [] if run is None else read_history(run)

    def predict(self, x: object, *, tta: bool = False, **options: object) -> Answers:
        """As `Finetuning.predict`."""
        return answers_to(self.trained, x, options, mirrored=tta)

    def features(self, x: object, stage: str | None = None) -> np.ndarray:
        """As `Finetuning.features`."""
        return features_of(self.trained, x, stage)

    def evaluate(self, data: object) -> MetricValues:
        """Metrics on all of a labelled source, or of data as `finetune` takes them."""
        outputs = self.trained.network.num_classes
        if isinstance(data, str):
            base = dataclasses.replace(self.trained.settings, source='', class_names=())
            ((_, found),) = other_data(base, {'source': [data]}, 'test')
        else:
            found = test_in_python(data, self.trained.settings)
        aligned = with_classes_of(found, self.trained.class_names, outputs)
        return examine(self.trained, aligned).metrics

    @property
    def calibration(self) -> Any:
        """What was fitted on validation data; None where nothing was."""
        return read_calibration(self.trained)


def load(
    path: str | os.PathLike[str], task: str = '', *, allow_code_change: bool = False
) -> Loaded:
    """A trained network: the folder of a run, its `model/`, what `save` wrote, or any checkpoint.

    Args:
      path: the folder, or what `config.init` takes.
      task: of a checkpoint that does not say it.
      allow_code_change: whether own code that answers may be another than that of its run.
    """
    return Loaded(open_trained(os.fspath(path), task=task, allow_code_change=allow_code_change))
