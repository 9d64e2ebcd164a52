"""Metrics of a trained network on a split."""

from __future__ import annotations

from typing import Any

from ftjax.config import Config
from ftjax.data import EvalBatches, Splits, eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics, grouped

NOTHING_MEASURED = {'n': 0}


def split_batches(
    data: Splits,
    split: str,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
) -> EvalBatches:
    """The batches of a split, for evaluation."""
    settings = config.data
    return eval_batches(
        getattr(data, split), settings.eval_batch_size, settings.image_size, preprocessing
    )


def split_metrics(prepared: Prepared, variables: dict[str, Any], split: str = 'test'):
    """Metrics of a split, on whole arrays."""
    return network_metrics(
        prepared.network,
        variables,
        prepared.data,
        prepared.config,
        prepared.preprocessing,
        split,
    )


def split_statistics(
    prepared: Prepared, variables: dict[str, Any], split: str = 'test'
) -> Statistics:
    """What the task counts of each example of a split."""
    return network_statistics(
        prepared.network,
        variables,
        prepared.data,
        prepared.config,
        prepared.preprocessing,
        split,
    )


def network_metrics(
    network: Network,
    variables: Any,
    data: Splits,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
    split: str = 'test',
) -> dict[str, Any]:
    """Metrics of a network on a split, on whole arrays."""
    found = network_statistics(network, variables, data, config, preprocessing, split)
    return task_of(getattr(data, split).task).measured(found, data.class_names)


def network_statistics(
    network: Network,
    variables: Any,
    data: Splits,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
    split: str = 'test',
) -> Statistics:
    """What the task counts of each example of a split: metrics follow from it."""
    dataset = getattr(data, split)
    if not len(dataset):
        raise UserError(
            f'{dataset.name}: there is no {split} split to evaluate on; set data.{split}_fraction, '
            'or choose another split'
        )
    batches = split_batches(data, split, config, preprocessing)
    outputs = predict(network, variables, batches, preprocessing)
    return grouped(task_of(dataset.task).collected(outputs), dataset.groups)
