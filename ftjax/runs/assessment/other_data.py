"""Labelled data that a trained network is evaluated on: its run's, shifted, or from elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.config import SECTIONS, section
from ftjax.data.dataset import Dataset
from ftjax.data.load import load_data, load_test
from ftjax.data.other_source import NOT_OF_OTHERS, same_source
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import is_named
from ftjax.errors import UserError, did_you_mean

CUTS = (
    *('seed', 'test_seed', 'test_fraction', 'val_fraction', 'test_per_class', 'val_per_class'),
    *('examples_per_class', 'folds', 'fold', 'split_column', 'train_file', 'val_file', 'test_file'),
)
"""Fields of `config.data` that decide which examples are in which split."""


def other_data(
    base: DataSettings | None, changes: Mapping[str, Sequence[Any]], split: str
) -> list[tuple[DataSettings, Dataset]]:
    """The data sets that fields of `config.data` name, one for each `source`.

    Of a source that is not the run's own it is the test split, or all that there is: nothing of
    it was trained on. A shifted version of the run's own data (another `corruption`), and what
    ftjax makes itself, give the split, since their other examples may have been trained on.

    Args:
      base: the run's data; None where there is no run.
      changes: fields with their values; only `source` may have several.
      split: of the run's own data.

    Raises:
      UserError: an unknown field, no source, or data that cannot be read.
    """
    for name, values in changes.items():
        if name != 'source' and len(values) > 1:
            raise UserError(f'--data.{name} is given {len(values)} times; expected once')
    sources = changes.get('source') or ([base.source] if base is not None else [])
    if not sources:
        raise UserError('a checkpoint without a run needs data: --data.source=..')
    kept = {} if base is None else dataclasses.asdict(base)
    given = {name: values[0] for name, values in changes.items() if name != 'source'}
    found = []
    for source in sources:
        own = base is not None and same_source(source, base.source)
        cut = next((name for name in given if name in CUTS), None)
        if own and cut is not None:
            raise UserError(
                f'--data.{cut} decides which examples of {source} are in which split: those that '
                'are evaluated then may have been trained on'
            )
        other = {'class_names': (), 'examples_per_class': None, 'val_per_class': None}
        other |= NOT_OF_OTHERS
        fields = {**kept, **({} if own else other), **given, 'source': source}
        settings = section(SECTIONS['data'], fields, 'data')
        elsewhere = is_named(source) and not own
        data = load_test(settings) if elsewhere else getattr(load_data(settings), split)
        found.append((settings, data))
    return found


def with_classes_of(dataset: Dataset, class_names: Sequence[str], outputs: int) -> Dataset:
    """The data set with its labels in the order of a head's classes.

    Args:
      dataset: whose classes may be fewer, or in another order.
      class_names: of the head; () where nobody said: labels are then taken as they are.
      outputs: of the head.

    Raises:
      UserError: a class that the head has not.
    """
    names = dataset.class_names
    if not dataset.label_kind.named or names == tuple(class_names):
        return dataset
    if not class_names:
        if len(names) > outputs:
            raise UserError(f'{dataset.name} has {len(names)} classes, the network {outputs}')
        known = tuple(str(index) for index in range(outputs))
        where = np.arange(len(names))
    elif names == tuple(str(index) for index in range(len(names))) and len(names) <= outputs:
        known, where = tuple(class_names), np.arange(len(names))  # indices, and no names
    else:
        known = tuple(class_names)
        for name in names:
            if name not in known:
                raise UserError(
                    f'{dataset.name} has a class {name!r}, and the network none of that name; '
                    f'{did_you_mean(name, known)} (--data.class_names=.. names those of the data)'
                )
        where = np.array([known.index(name) for name in names])
    labels = dataset.label_kind.renumbered(dataset.labels, where, len(known))
    return dataclasses.replace(dataset, labels=labels, class_names=known)
