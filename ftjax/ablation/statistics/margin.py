"""The margin within which differences do not matter, unless a config says."""

from __future__ import annotations

from ftjax.evaluation.metric import Metric

MARGIN = 0.01
"""Share of a metric's range."""


def default_margin(metric: Metric) -> float:
    """MARGIN of the metric's range; 0 where it has not both bounds.

    >>> default_margin(Metric(name='accuracy', bounds=(0.0, 1.0)))
    0.01
    >>> default_margin(Metric(name='mse'))
    0.0
    """
    low, high = metric.bounds
    return 0.0 if low is None or high is None else MARGIN * (high - low)
