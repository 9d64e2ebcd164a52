"""The contract of a task: its labels, its loss, what is counted of a batch, its metrics.

A task is one class in one file, registered by name (ftjax/tasks/registry.py). A user's own stands
in the config file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ftjax.data.labels import LabelKind
from ftjax.evaluation.metric import MetricValues, metric_line
from ftjax.tasks.answers import Answering
from ftjax.tasks.error_analysis import ErrorAnalysis
from ftjax.tasks.measuring import Measuring
from ftjax.tasks.threshold import Threshold
from ftjax.tasks.training_loss import PLAIN, Array, Batch, LossOptions

__all__ = ['PLAIN', 'Array', 'Batch', 'LossOptions', 'Task', 'metric_line']


class Task(Measuring, Answering, ErrorAnalysis):
    """What a network is trained to do, and how well it does it.

    A task defines `labels`, `metrics`, `default_metric`, `losses`, `statistics`, `values` and
    `example`; the rest has defaults. It holds no data and no settings: one instance serves all
    runs of a process, and is part of the key of their compiled programs.
    """

    labels: ClassVar[LabelKind]
    """How labels are read and checked, how many outputs and which head the network needs."""

    def text(self, metrics: MetricValues) -> str:
        """`values` for a terminal: a line a metric, with its interval where there is one."""
        known = {*metrics, self.default_metric}  # without that it is no evaluation
        names = [metric.name for metric in self.metrics if metric.name in known]
        width = max(map(len, [self.counted, *names]))
        lines = [f'{self.counted:<{width}} {metrics["n"]}']
        lines += [metric_line(metrics, name, f'{name:<{width}}', '.6g') for name in names]
        return '\n'.join(lines)

    def example(
        self, output: np.ndarray, label: object, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """One example in an error analysis: what was right, what was answered, how sure.

        Args:
          output: of the network, for this example.
          label: as the batch holds it.
          class_names: one a class; () where labels are no classes.
        """
        raise NotImplementedError

    def example_at(
        self, output: np.ndarray, label: object, class_names: Sequence[str], threshold: Threshold
    ) -> dict[str, object]:
        """As `example`, answered at a decision threshold; of a task that has one."""
        return self.example(output, label, class_names)
