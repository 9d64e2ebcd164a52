"""How good networks are on the same examples, and how they differ from the deployed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import unpacked
from ftjax.runs.assessment.examination import examine
from ftjax.runs.assessment.other_data import with_classes_of
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.comparison.paired_scores import PairedScores, paired_scores
from ftjax.tasks.metrics import as_metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one network on one set of examples."""

    metric: str
    values: np.ndarray
    """(n,), bool for right and wrong, else float64: their mean is the metric."""
    groups: np.ndarray | None = None
    """(n,) what each example belongs to; None where examples are independent."""

    @property
    def mean(self) -> float:
        """The metric."""
        return float(self.values.mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change(PairedScores):
    """A network beside the deployed one on one set."""

    set_name: str
    metric: str
    before: float
    after: float

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `not significantly different`, or `too few differ to say`."""
        if self.significant is None:
            return 'too few differ to say'
        if not self.significant:
            return 'not significantly different'
        return 'better' if (self.difference > 0) == higher_is_better(self.metric) else 'worse'


def higher_is_better(metric: str) -> bool:
    """Of a metric by name."""
    return as_metric(metric).higher_is_better


def scored(trained: Trained, dataset: Dataset) -> Scored:
    """Scores of each example; UserError for a task whose metric is no mean over examples."""
    outputs = trained.network.num_classes or 0
    examined = examine(trained, with_classes_of(dataset, trained.class_names, outputs))
    packed = examined.metrics.get('examples')
    if packed is None:
        raise UserError(
            f'task {dataset.task} has no score for each example, so that networks cannot be '
            'compared on them'
        )
    scores = unpacked(packed)
    groups = dataset.groups if len(dataset.groups) else None
    return Scored(metric=scores.metric, values=scores.values, groups=groups)


def changes(before: Mapping[str, Scored], after: Mapping[str, Scored]) -> list[Change]:
    """The differences on each set."""
    found = []
    for name, old in before.items():
        new = after[name]
        paired = paired_scores(old.values, new.values, old.groups)
        sides = {'set_name': name, 'metric': old.metric, 'before': old.mean, 'after': new.mean}
        found.append(Change(**sides, **vars(paired)))
    return found
