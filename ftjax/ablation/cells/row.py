"""The fields of a cell's row: plain numbers of what a run gave back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.pytrees import Variables
from ftjax.runs.evaluate import split_metrics, threshold_of
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of
from ftjax.tasks.metrics import known_metrics, metric_of


def finished_fields(
    validation: Mapping[str, float | None],
    metrics: MetricValues,
    shifts: Mapping[str, Mapping[str, float | None]],
    **others: object,
) -> dict[str, object]:
    """Fields of a run that has finished.

    Args:
      validation: of the weights that the run ends with; `score` is left out.
      metrics: of the test split; the scores of its examples among them, where the task has any.
      shifts: metrics of further test sets, by name; left out where there are none.
      **others: as they are.
    """
    return {
        'status': 'ok',
        'val': {name: value for name, value in validation.items() if name != 'score'},
        'test': numbers_of(metrics),
        **({'examples': metrics['examples']} if 'examples' in metrics else {}),
        **({'shifts': dict(shifts)} if shifts else {}),
        **others,
    }


def fitted_metrics(
    prepared: Prepared, val: np.ndarray, test: np.ndarray
) -> tuple[MetricValues, MetricValues]:
    """Metrics on validation and test data of what was fitted on features of a network.

    Both are at the decision threshold that train.threshold asks for, as those of a run are.

    Args:
      prepared: the network on its data.
      val, test: outputs, (examples, outputs).
    """
    data, task = prepared.data, task_of(prepared.data.task)
    of_val, of_test = (
        task.collected([(outputs, {'labels': np.asarray(part.labels)})])
        for outputs, part in ((val, data.val), (test, data.test))
    )
    threshold = threshold_of(prepared, lambda: of_val)
    return (
        task.measured(of_val, data.class_names, threshold),
        task.measured(of_test, data.class_names, threshold),
    )


def numbers_of(metrics: MetricValues) -> dict[str, float | None]:
    """The metrics that are single numbers; None for one that is undefined on this split."""
    known = known_metrics()
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, (int, float)) or (value is None and name in known)
    }


def validated(
    prepared: Prepared, variables: Variables, validation: Mapping[str, float], metric: str
) -> dict[str, float | None]:
    """Validation metrics of a run's final weights, the one that an ablation asks for among them.

    Training computes a few metrics of the validation split only; where the one asked for is none
    of them, the final weights are evaluated on that split as they are on the test split.

    Raises:
      NonFinitePredictions: an output is NaN or infinite.
    """
    if metric_of(metric).known_in(validation):
        return dict(validation)
    return {**numbers_of(split_metrics(prepared, variables, 'val')), **validation}
