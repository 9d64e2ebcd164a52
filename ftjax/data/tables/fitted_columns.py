"""The preprocessing of a table, fitted on training rows alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.missing import rule_of
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.preprocessing.spread import mean_and_deviation

if TYPE_CHECKING:
    from ftjax.models.stages import Network

_log = logging.getLogger(__name__)


def table_preprocessing(train: Dataset, settings: DataSettings) -> Any:
    """Means, deviations, levels and what fills gaps, of a training split of kind `table`.

    Columns of numbers that never vary are dropped, and that is logged; not those whose gaps are to
    be told by an indicator.

    Raises:
      UserError: nothing is left, or a column without a single value.
    """
    from ftjax.preprocessing.table_features import (  # other data need none
        CategoryColumn,
        NumberColumn,
        TablePreprocessing,
    )

    table, numbers, dropped = train.inputs, [], []
    for place, name in enumerate(table.number_names):
        values = table.numbers[:, place]
        gaps = np.isnan(values)
        if gaps.all():
            raise UserError(f'{train.name}: column {name!r} has no value in training')
        rule = rule_of(settings.missing, name)
        fill = float(rule(values[~gaps])) if rule.details.rows == 'fill' else None
        filled = values if fill is None else np.where(gaps, fill, values)
        mean, deviation = map(float, mean_and_deviation(filled[~np.isnan(filled)]))
        told = bool(rule.arguments.get('indicator', False)) and fill is not None
        if not deviation and not (told and gaps.any()):
            dropped.append(name)
            continue
        numbers.append(
            NumberColumn(
                name=name,
                mean=mean,
                deviation=deviation or 1.0,
                fill=fill,
                indicator=told,
            )
        )
    categories = []
    for place, name in enumerate(table.word_names):
        values = table.words[:, place]
        rule, known = rule_of(settings.missing, name), values[values != '']
        fill = str(rule(known)) if rule.details.rows == 'fill' and len(known) else None
        levels = sorted({*known, *([fill] if fill else [])})
        categories.append(CategoryColumn(name=name, levels=tuple(levels), fill=fill))
    if dropped:
        _log.info('%s: columns that never vary are left out: %s', train.name, ', '.join(dropped))
    if not numbers and not categories:
        raise UserError(f'{train.name}: no column of data.features varies in training')
    return TablePreprocessing(
        numbers=tuple(numbers),
        categories=tuple(categories),
        embedded=settings.categories == 'embed',
    )


def matching_table(
    train: Dataset, network: Network, preprocessing: Any, settings: DataSettings
) -> Any:
    """The preprocessing that came with a network, or one fitted on these training rows.

    Raises:
      UserError: the network takes another number of features, or of codes.
    """
    if preprocessing is None:
        preprocessing = table_preprocessing(train, settings)
    if (train.label_kind.head == 'features') != network.is_reconstruction:
        raise UserError(
            f'{train.name}: data.task {train.task} and a network '
            f'with{"" if network.is_reconstruction else "out"} a head that guesses features do not '
            'go together; set config.model.reconstruct'
        )
    own = preprocessing.features, preprocessing.codes
    wanted = tuple(network.example_input()['features'].shape[1:]), network.table_codes
    if ((own[0],), own[1]) != wanted:
        raise UserError(
            f'{train.name}: its columns make {own[0]} features and categories of {own[1]} codes; '
            f'the network takes {wanted[0][0]} and {wanted[1]}'
        )
    return preprocessing


def network_options(train: Dataset, settings: DataSettings) -> JsonObject:
    """Fields of a new network for a table that follow from its training rows; {} for other data."""
    if train.kind != 'table':
        return {}
    found = table_preprocessing(train, settings)
    head = {'num_classes': 0, 'reconstruct': True} if train.label_kind.head == 'features' else {}
    return {
        'features': found.features,
        'codes': list(found.codes),
        **head,
        **target_options(train),
    }


def target_options(train: Dataset) -> dict[str, object]:
    """Mean and deviation of the training targets of a table, for a new head; {} for no values."""
    if train.kind != 'table' or not train.label_kind.standardised:
        return {}
    labels = train.labels.astype(np.float64)  # exact sums, as they were float32
    return {'target_mean': float(labels.mean()), 'target_scale': float(labels.std()) or 1.0}


def in_features(dataset: Dataset, preprocessing: object) -> dict[str, np.ndarray]:
    """The rows of a table as a network takes them; UserError where it takes something else."""
    from ftjax.preprocessing.table_features import TablePreprocessing

    if not isinstance(preprocessing, TablePreprocessing):
        raise UserError(f'{dataset.name}: the network takes no rows of a table')
    table = dataset.inputs
    names = table.number_names, table.word_names
    return preprocessing.apply(table.numbers, table.words, *names, dataset.ids)
