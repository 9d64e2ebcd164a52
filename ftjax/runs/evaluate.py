"""Metrics of a trained network on a split."""

from __future__ import annotations

from collections.abc import Callable

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.predictions import refuse_non_finite
from ftjax.evaluation.split_outputs import split_outputs
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics, grouped
from ftjax.tasks.threshold import Threshold, fixed

NOTHING_MEASURED = {'n': 0}


def split_metrics(
    prepared: Prepared, variables: Variables, split: str = 'test'
) -> dict[str, object]:
    """Metrics of a split, on whole arrays, at the decision threshold of validation."""
    data, threshold = prepared.data, chosen_threshold(prepared, variables)
    found = split_statistics(prepared, variables, split)
    return task_of(getattr(data, split).task).measured(found, data.class_names, threshold)


def split_statistics(prepared: Prepared, variables: Variables, split: str = 'test') -> Statistics:
    """What the task counts of each example of a split: metrics follow from it."""
    dataset = getattr(prepared.data, split)
    if not len(dataset):
        raise UserError(
            f'{dataset.name}: there is no {split} split to evaluate on; set data.{split}_fraction, '
            'or choose another split'
        )
    return grouped(_collected(prepared, variables, dataset), dataset.groups)


def decided_statistics(prepared: Prepared, variables: Variables, split: str = 'test') -> Statistics:
    """As `split_statistics`, answered at the decision threshold of validation."""
    found = split_statistics(prepared, variables, split)
    threshold = chosen_threshold(prepared, variables)
    return found if threshold is None else task_of(prepared.data.task).decided(found, threshold)


def chosen_threshold(prepared: Prepared, variables: Variables) -> Threshold | None:
    """The decision threshold that train.threshold asks for, chosen on validation; None without.

    Raises:
      NonFinitePredictions: an output is NaN or infinite.
    """
    val = prepared.data.val
    return threshold_of(prepared, lambda: _collected(prepared, variables, val))


def threshold_of(prepared: Prepared, validation: Callable[[], Statistics]) -> Threshold | None:
    """As `chosen_threshold`, from what the task counts of the outputs on validation data."""
    rule = prepared.config.train.threshold
    if not rule:
        return None
    if fixed(rule) is not None:
        return fixed(rule)
    found = validation()
    refuse_non_finite(found.rows['finite'])
    return task_of(prepared.data.task).threshold(rule, found)


def _collected(prepared: Prepared, variables: Variables, dataset: Dataset) -> Statistics:
    """What the task counts of the network's outputs on a split."""
    settings, preprocessing = prepared.config.data, prepared.preprocessing
    network, task = prepared.network, task_of(dataset.task)
    return task.collected(
        split_outputs(network, variables, dataset, settings, preprocessing, shared=True)
    )
