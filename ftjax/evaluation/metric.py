"""A metric: which direction is better, and how it is written. Tasks say which they have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

MetricValues = Mapping[str, Any]
"""What a task measured of a split: numbers by metric, `NAME_interval`, `per_class`, .."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """What must be known of a number before two of them can be compared.

    Attributes:
      name: its key in the metrics of a run.
      higher_is_better: False for losses and errors.
      label: how tables and figures call it; the name in words when left out.
      bounds: lowest and highest value there is; None where there is no bound.
      percent: whether it is written in percent (a share of examples).
      unit: of its values, for axes; empty where they have none.
      also: other names under which a run may note the same number.
    """

    name: str
    higher_is_better: bool = True
    label: str = ''
    bounds: tuple[float | None, float | None] = (None, None)
    percent: bool = False
    unit: str = ''
    also: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.label:
            object.__setattr__(self, 'label', self.name.replace('_', ' '))

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: times it, higher is better."""
        return 1 if self.higher_is_better else -1

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which a run may note it."""
        return (self.name, *self.also)

    def clipped(self, value: float) -> float:
        """The nearest value that the metric can have.

        >>> error('mse').clipped(-0.2), Metric(name='r2', bounds=(None, 1.0)).clipped(-0.2)
        (0.0, -0.2)
        """
        low, high = self.bounds
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)

    def known_in(self, values: Mapping[str, object]) -> bool:
        """Whether the metrics of a run name it; its value may still be None."""
        return any(name in values for name in self.names)

    def value_in(self, values: Mapping[str, Any]) -> float | None:
        """The value among the metrics of a run; None where it is undefined, NaN or infinite.

        >>> LOG_LOSS.value_in({'loss': 0.5, 'accuracy': 0.8})
        0.5
        """
        found = next((values[name] for name in self.names if name in values), None)
        return float(found) if found is not None and math.isfinite(found) else None


def share(name: str, label: str = '') -> Metric:
    """A metric between 0 and 1, written in percent."""
    return Metric(name=name, label=label, bounds=(0.0, 1.0), percent=True)


def error(
    name: str, label: str = '', low: float = 0.0, high: float | None = None, also=(), unit: str = ''
) -> Metric:
    """A metric of which less is better."""
    bounds = low, high
    return Metric(
        name=name, higher_is_better=False, label=label, bounds=bounds, also=also, unit=unit
    )


LOG_LOSS = error('log_loss', also=('loss',), unit='nats')


def averages(*kinds: str) -> tuple[Metric, ...]:
    """Precision, recall and F1, averaged in some ways: `macro`, `micro`, `weighted`."""
    said = (('precision', 'precision'), ('recall', 'recall'), ('f1', 'F1'))
    return tuple(
        share(f'{name}_{kind}', f'{kind} {label}') for kind in kinds for name, label in said
    )


def metric_line(metrics: MetricValues, name: str, label: str, form: str) -> str:
    """`LABEL 0.5, 95 % interval 0.4 to 0.6`: a metric as `form` writes numbers."""
    value, interval = metrics[name], metrics.get(f'{name}_interval')
    line = f'{label} ' + ('undefined' if value is None else f'{value:{form}}')
    if interval is not None:
        line += f', 95 % interval {interval[0]:{form}} to {interval[1]:{form}}'
    return line
