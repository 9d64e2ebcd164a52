"""What tasks that guess tokens of texts say of their errors: which texts are guessed worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.prediction_figures import spread_figure
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.error_analysis import Picture
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Task


class TokenErrors(Task):
    """A task whose statistics have `sums`: of each text nats, tokens guessed right, and asked."""

    asked: ClassVar[str]
    """What a token is that counts: `hidden token`."""

    def ratio(self, found: Statistics) -> Ratio:
        """The loss a token."""
        metric = self.metric(self.default_metric)
        assert metric is not None
        return Ratio(metric, found.rows['sums'][:, 0], found.rows['sums'][:, 2])

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """How many tokens of a text were asked for."""
        return {f'{self.asked}s': found.rows['sums'][:, 2]}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The texts whose tokens are worst guessed."""
        nats, right, asked = found.rows['sums'].T[:3]
        losses = nats / np.maximum(asked, 1)
        return [
            {
                'id': str(ids[i]),
                'position': int(i),
                'asked': int(asked[i]),
                'right': int(right[i]),
                'loss': float(losses[i]),
            }
            for i in largest(losses, limit)
        ]

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """How the loss is spread over texts."""
        nats, _, asked = found.rows['sums'].T[:3]
        what = f'loss a {self.asked} (nats), lower is better'
        figure = spread_figure(nats / np.maximum(asked, 1), what, 'texts', 'Loss of each text')
        return [Picture(f'The mean loss of the {self.asked}s of each text.', figure)]


def loss_of(sums: np.ndarray) -> float:
    """Nats a token; NaN where no token counts."""
    return _each(sums, 0)


def accuracy_of(sums: np.ndarray) -> float:
    """The share of tokens that are guessed right; NaN where no token counts."""
    return _each(sums, 1)


def _each(sums: np.ndarray, column: int) -> float:
    tokens = sums[:, 2].sum()
    return float(sums[:, column].sum() / tokens) if tokens else math.nan


def defined(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics, None of those that are no number: no token counts."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def text_row(sums: np.ndarray) -> Mapping[str, Any]:
    """One text in an error analysis: tokens asked for, how many guessed, and the mean loss."""
    nats, right, asked = sums[:3]
    return {'asked': int(asked), 'right': int(right), 'loss': nats / max(asked, 1)}
