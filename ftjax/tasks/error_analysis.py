"""What a task says of the examples of a split, for people: mistakes, parts, baselines, pictures.

All of it is made from the statistics of the split, which a run keeps, and not from its outputs,
which may be larger than the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ftjax.data.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What costs no training: its name, and its metrics on the same examples."""

    name: str
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A matplotlib figure with the sentence below it."""

    caption: str
    figure: Figure


class ErrorAnalysis:
    """The part of a task that explains its errors; a task without it has none to show."""

    def ratio(self, found: Statistics) -> Ratio | None:
        """The metric that parts of a split are compared by, unit by unit."""

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """What the task knows of each unit that a split can be parted by: its class."""
        return {}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The worst answers, worst first.

        Args:
          found: of the split.
          ids: of each unit, in the order of its rows.
          class_names: one a class; () where labels are no classes.
          limit: how many at most.

        Returns:
          Dicts: `id`, `position` (among the units), and what was right and what was answered.
        """
        return []

    draws_answers: ClassVar[bool] = False
    """Whether `drawn` shows an answer on its input; the worst are then answered once more."""

    def drawn(
        self, image: np.ndarray, output: np.ndarray, label: Any, palette: Sequence[str]
    ) -> np.ndarray:
        """A picture, uint8 (rows, columns, 3), of an image with what is right and was answered.

        Args:
          image: as the network sees it, before normalisation.
          output: of the network.
          label: as the batch holds it.
          palette: as `config.data.palette`.
        """
        raise NotImplementedError

    def in_context(
        self, mistake: Mapping[str, object], data: Dataset, place: int
    ) -> dict[str, object]:
        """A mistake with what people see of its input, an example of a split; as it is if enough.

        Args:
          mistake: one of `mistakes`, with `texts` or a `picture`.
          data: the split.
          place: of the example in it.
        """
        del data, place
        return dict(mistake)

    def confusions(self, metrics: MetricValues, limit: int = 10) -> list[dict[str, Any]]:
        """Which answers are given for one another: rows of a table."""
        return []

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """Answers that need no network: by chance, and the best that is always the same.

        Args:
          labels: of the training split.
          found: of the split that is tested on.
          class_names: one a class.
          metrics: of the network on that split.
        """
        return []

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """Figures of the answers on a split."""
        return []
