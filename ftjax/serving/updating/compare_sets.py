"""How good networks are on the same examples, and how they differ from the deployed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import unpacked
from ftjax.evaluation.intervals import mean_interval
from ftjax.runs.assessment.examination import examine
from ftjax.runs.assessment.other_data import with_classes_of
from ftjax.runs.prediction.trained import Trained
from ftjax.tasks.metrics import as_metric


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one network on one set of examples."""

    metric: str
    values: np.ndarray
    """float64 (n,): their mean is the metric."""
    groups: np.ndarray | None = None
    """(n,) what each example belongs to; None where examples are independent."""

    @property
    def mean(self) -> float:
        """The metric."""
        return float(self.values.mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """A network beside the deployed one on one set."""

    set_name: str
    metric: str
    count: int
    before: float
    after: float
    difference: float
    """After minus before."""
    interval: tuple[float, float] | None
    """95 %, by resampling examples, or groups, whose scores are paired; None where not known."""

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `not significantly different`."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
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
    return Scored(metric=scores.metric, values=scores.values.astype(np.float64), groups=groups)


def changes(before: Mapping[str, Scored], after: Mapping[str, Scored]) -> list[Change]:
    """The differences on each set."""
    found = []
    for name, old in before.items():
        new = after[name]
        differences = new.values - old.values
        # A resampling of equal values has no width, and nothing is known from one example.
        interval = mean_interval(differences, old.groups) if len(differences) > 1 else None
        found.append(
            Change(
                set_name=name,
                metric=old.metric,
                count=len(differences),
                before=old.mean,
                after=new.mean,
                difference=float(differences.mean()),
                interval=None if interval is None else (interval[0], interval[1]),
            )
        )
    return found
