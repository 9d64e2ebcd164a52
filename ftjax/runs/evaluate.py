"""Metrics of a trained network on a split."""

from __future__ import annotations

from ftjax.config import Config
from ftjax.data import EvalBatches, Splits, eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import refuse_non_finite
from ftjax.evaluation.sliding import split_outputs
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics, grouped
from ftjax.tasks.threshold import Threshold, fixed

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


def split_metrics(prepared: Prepared, variables: Variables, split: str = 'test'):
    """Metrics of a split, on whole arrays, at the decision threshold of validation."""
    return network_metrics(
        prepared.network,
        variables,
        prepared.data,
        prepared.config,
        prepared.preprocessing,
        split,
        chosen_threshold(prepared, variables),
    )


def split_statistics(prepared: Prepared, variables: Variables, split: str = 'test') -> Statistics:
    """What the task counts of each example of a split."""
    return network_statistics(
        prepared.network,
        variables,
        prepared.data,
        prepared.config,
        prepared.preprocessing,
        split,
    )


def decided_statistics(prepared: Prepared, variables: Variables, split: str = 'test') -> Statistics:
    """As `split_statistics`, answered at the decision threshold of validation."""
    found, threshold = (
        split_statistics(prepared, variables, split),
        chosen_threshold(prepared, variables),
    )
    return found if threshold is None else task_of(prepared.data.task).decided(found, threshold)


def chosen_threshold(prepared: Prepared, variables: Variables) -> Threshold | None:
    """The decision threshold that train.threshold asks for, chosen on validation; None without.

    Raises:
      NonFinitePredictions: an output is NaN or infinite.
    """
    rule, val = prepared.config.train.threshold, prepared.data.val
    if not rule:
        return None
    if fixed(rule) is not None:
        return fixed(rule)
    batches = split_batches(prepared.data, 'val', prepared.config, prepared.preprocessing)
    tta = prepared.config.data.tta
    outputs = predict(prepared.network, variables, batches, prepared.preprocessing, tta=tta)
    found = task_of(val.task).collected(outputs)
    refuse_non_finite(found.rows['finite'])
    return task_of(val.task).threshold(rule, found)


def network_metrics(
    network: Network,
    variables: Variables,
    data: Splits,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
    split: str = 'test',
    threshold: Threshold | None = None,
) -> dict[str, object]:
    """Metrics of a network on a split, on whole arrays, at a decision threshold if one is given."""
    found = network_statistics(network, variables, data, config, preprocessing, split)
    return task_of(getattr(data, split).task).measured(found, data.class_names, threshold)


def network_statistics(
    network: Network,
    variables: Variables,
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
    outputs = split_outputs(network, variables, dataset, config.data, preprocessing)
    return grouped(task_of(dataset.task).collected(outputs), dataset.groups)
