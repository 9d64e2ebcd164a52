"""Forgetting: what a network has lost on data that it was not fine-tuned on.

It is measured against the network as it was loaded, before anything was added to it, so that
adapters, prompts and reset leaves count as what training did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.load import load_test
from ftjax.data.other_source import NOT_OF_OTHERS
from ftjax.data.streams.evaluation_batches import eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_interval
from ftjax.evaluation.metric import metric_line
from ftjax.evaluation.predict import predict
from ftjax.evaluation.ratio import Ratio
from ftjax.models.stages import Network
from ftjax.pytrees import Variables
from ftjax.runs.assessment.other_data import with_classes_of
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of

MOST = 512
"""Examples of the other data that are looked at, drawn by the seed of the data."""


def general_data(prepared: Prepared) -> Dataset | None:
    """The examples of `train.forgetting`; None where it is empty.

    Raises:
      UserError: no such source, a class that the head has not, or a network whose head is new: it
        had nothing to forget.
    """
    source, settings = prepared.config.train.forgetting, prepared.config.data
    if not source:
        return None
    if prepared.opened is None or prepared.opened.head_is_new:
        raise UserError(
            f'train.forgetting {source!r} compares with the network as it was loaded, and its head '
            'is new: there is nothing that it could forget'
        )
    read = dataclasses.replace(
        settings,
        source=source,
        packing=False,
        text_column='',
        text_pair_column='',
        **NOT_OF_OTHERS,
    )
    outputs = prepared.network.num_classes
    dataset = with_classes_of(load_test(read), prepared.data.class_names, outputs)
    if len(dataset) > MOST:
        rng = np.random.default_rng(settings.seed)
        dataset = dataset.take(np.sort(rng.choice(len(dataset), MOST, replace=False)))
    return dataset


def forgetting(
    prepared: Prepared, variables: Variables, dataset: Dataset
) -> Mapping[str, object] | None:
    """The task's metric on other data, before and after, with an interval of the change.

    Args:
      prepared: the run.
      variables: after training, of its network.
      dataset: of `general_data`.

    Returns:
      `source`, `metric`, `n` units, `before`, `after`, `change` (after minus before) and
      `change_interval`, 95 %, over the task's unit; None of a task without such a metric, and where
      no unit of the other data counts.
    """
    opened = prepared.opened
    assert opened is not None
    before = _ratio(prepared, opened.network, opened.variables, dataset)
    after = _ratio(prepared, prepared.network, variables, dataset)
    if before is None or after is None or before.value is None or after.value is None:
        return None
    rows = np.stack([after.above, before.above, after.below], axis=1)
    return {
        'source': prepared.config.train.forgetting,
        'metric': after.metric.name,
        'n': len(rows),
        'before': before.value,
        'after': after.value,
        'change': _change(rows),
        'change_interval': bootstrap_interval(rows, _change),
    }


def forgetting_text(found: Mapping[str, Any]) -> str:
    """One line for a terminal."""
    before, after = found['before'], found['after']
    said = f'forgetting on {found["source"]}: {found["metric"]} {before:.4f} as loaded, '
    return metric_line(found, 'change', f'{said}{after:.4f} now:', '+.4f')


def _ratio(
    prepared: Prepared, network: Network, variables: Variables, dataset: Dataset
) -> Ratio | None:
    task, settings = task_of(dataset.task), prepared.config.data
    batches = eval_batches(
        dataset, settings.eval_batch_size, settings.image_size, prepared.preprocessing
    )
    found = task.collected(predict(network, variables, batches, prepared.preprocessing))
    return task.ratio(found)


def _change(rows: np.ndarray) -> float:
    return float((rows[:, 0] - rows[:, 1]).sum() / rows[:, 2].sum())
