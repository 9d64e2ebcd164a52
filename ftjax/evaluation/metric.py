"""Metrics by name: which direction is better, how each is written, and which task has it.

>>> metric_of('mse').higher_is_better, metric_of('accuracy').higher_is_better
(False, True)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ftjax.errors import UserError, check_name, did_you_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """What must be known of a number before two of them can be compared.

    Attributes:
      name: its key in the metrics of a run.
      higher_is_better: False for losses and errors.
      label: how tables and figures call it; the name in words when left out.
      bounds: lowest and highest value there is; None where there is no bound.
      percent: whether it is written in percent (a share of examples).
      also: other names under which a run may note the same number.
    """

    name: str
    higher_is_better: bool = True
    label: str = ''
    bounds: tuple[float | None, float | None] = (None, None)
    percent: bool = False
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

        >>> metric_of('mse').clipped(-0.2), metric_of('r2').clipped(-0.2)
        (0.0, -0.2)
        """
        low, high = self.bounds
        value = value if low is None else max(low, value)
        return value if high is None else min(high, value)

    def known_in(self, values: Mapping[str, Any]) -> bool:
        """Whether the metrics of a run name it; its value may still be None."""
        return any(name in values for name in self.names)

    def value_in(self, values: Mapping[str, Any]) -> float | None:
        """The value among the metrics of a run; None where it is undefined, NaN or infinite.

        >>> metric_of('log_loss').value_in({'loss': 0.5, 'accuracy': 0.8})
        0.5
        """
        found = next((values[name] for name in self.names if name in values), None)
        return float(found) if found is not None and math.isfinite(found) else None


def _share(name: str, label: str = '') -> Metric:
    return Metric(name=name, label=label, bounds=(0.0, 1.0), percent=True)


def _error(name: str, label: str = '', low: float = 0.0, high: float | None = None, also=()):
    return Metric(name=name, higher_is_better=False, label=label, bounds=(low, high), also=also)


_LOG_LOSS = _error('log_loss', also=('loss',))
_PRECISION_RECALL_F1 = (('precision', 'precision'), ('recall', 'recall'), ('f1', 'F1'))


def _averages(*kinds: str) -> Iterable[Metric]:
    for kind in kinds:
        for name, label in _PRECISION_RECALL_F1:
            yield _share(f'{name}_{kind}', f'{kind} {label}')


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


BY_TASK: dict[str, dict[str, Metric]] = {
    'classification': _table(
        _share('accuracy'),
        _share('balanced_accuracy'),
        _share('top5_accuracy', 'top-5 accuracy'),
        *_averages('macro', 'weighted'),
        _LOG_LOSS,
        _error('ece', 'calibration error', high=1.0),
        _error('brier', 'Brier score', high=2.0),
    ),
    'multilabel': _table(
        *_averages('micro', 'macro'),
        Metric(name='average_precision_micro', bounds=(0.0, 1.0)),
        Metric(name='average_precision_macro', bounds=(0.0, 1.0)),
        Metric(name='exact_match', bounds=(0.0, 1.0)),
        _error('hamming_loss', 'Hamming loss', high=1.0),
        _LOG_LOSS,
    ),
    'regression': _table(
        _error('mse', 'MSE', also=('loss',)),
        _error('rmse', 'RMSE'),
        _error('mae', 'MAE'),
        Metric(name='r2', label='R²', bounds=(None, 1.0)),
        Metric(name='pearson', label='Pearson r', bounds=(-1.0, 1.0)),
        Metric(name='spearman', label='Spearman ρ', bounds=(-1.0, 1.0)),
    ),
    'masked_tokens': _table(
        _share('accuracy'),
        _error('loss', also=('log_loss',)),
        _error('perplexity', low=1.0),
    ),
    'theory': _table(_error('error')),
}
"""Task to its metrics by name. The same name means the same in every task."""
DEFAULTS = {
    'classification': 'accuracy',
    'multilabel': 'f1_micro',
    'regression': 'mse',
    'masked_tokens': 'loss',
}
"""Task to the metric that chooses the weights a run keeps, and when it stops."""
# `loss` means the loss of whatever the task is: the names under which it may stand are all.
_ANY_LOSS = _error('loss', also=('log_loss', 'mse'))
METRICS: dict[str, Metric] = {
    **{name: metric for known in BY_TASK.values() for name, metric in known.items()},
    'loss': _ANY_LOSS,
}
"""All metrics by name."""


def metric_of(metric: str | Metric, what: str = 'metric') -> Metric:
    """A known metric by name; a `Metric` is given back as it is.

    Args:
      metric: the name.
      what: words for the error: which setting named it.

    Raises:
      UserError: no task has a metric of that name; the nearest are named.
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise UserError(f'{what} {metric!r} is no name of a metric; known: {", ".join(METRICS)}')
    return METRICS[check_name(metric, METRICS, what)]


def as_metric(metric: str | Metric) -> Metric:
    """As `metric_of`; a name that no task knows stands for itself, without a known direction.

    For looking up and writing numbers, never for comparing them.
    """
    return metric if isinstance(metric, Metric) else METRICS.get(metric) or Metric(name=metric)


def default_metric(task: str) -> Metric:
    """What decides which weights a run of a task keeps.

    >>> default_metric('regression').name
    'mse'
    """
    return BY_TASK[task][DEFAULTS[task]]


def check_metric(name: str, task: str, classes: int = 0, what: str = 'metric') -> Metric:
    """The metric of a task by name.

    Args:
      name: of the metric, or another name of it (`loss`).
      task: `classification`, `regression`, `multilabel` or `masked_tokens`.
      classes: of the task; 0 where it has none or the number is not known.
      what: words for the error: which setting named it.

    Raises:
      UserError: the task has no such metric; those it has are named.
    """
    known = BY_TASK[task]
    found = next((metric for metric in known.values() if name in metric.names), None)
    if found is None:
        near = did_you_mean(name, known)
        more = '' if near.startswith('known') else f' (all: {", ".join(sorted(known))})'
        raise UserError(f'{what} {name!r} is none of a task of {task}; {near}{more}')
    if found.name == 'top5_accuracy' and 0 < classes < 6:
        raise UserError(
            f'{what} {name!r} is undefined with {classes} classes; expected 6 classes or more'
        )
    return METRICS[name]
