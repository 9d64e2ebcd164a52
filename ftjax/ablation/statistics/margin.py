"""Up to which difference two arms count as equivalent, where nobody says."""

from __future__ import annotations

from ftjax.evaluation.metric import Metric

MARGIN = 0.01
"""Share of a metric's range up to which a difference does not matter, unless a config says."""


def default_margin(metric: Metric) -> float:
    """MARGIN of the metric's range; 0 where it has not both bounds.

    >>> default_margin(metric_of('accuracy')), default_margin(metric_of('mse'))
    (0.01, 0.0)
    """
    low, high = metric.bounds
    return 0.0 if low is None or high is None else MARGIN * (high - low)
