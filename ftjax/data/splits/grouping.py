"""Groups of examples that belong together, of one patient or one film: no split parts them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import readable
from ftjax.errors import UserError


def with_groups(parts: Mapping[str, Dataset], settings: DataSettings) -> dict[str, Dataset]:
    """The splits of a source with the group of every example, where the settings say it.

    Raises:
      UserError: the source has no such column, an example has no group, or a group lies in two
        of the splits that the source gives.
    """
    made = dict(parts)
    if settings.group_pattern:
        made = {name: _by_pattern(part, settings.group_pattern) for name, part in made.items()}
    elif settings.group_column:
        for part in made.values():
            if len(part) and not len(part.groups):
                raise UserError(
                    f'{part.name}: has no columns, so no data.group_column '
                    f'{settings.group_column!r}; data.group_pattern takes groups from names'
                )
            _check_complete(part, f'an empty {settings.group_column!r}')
    _check_apart(made)
    return made


def names_of(dataset: Dataset) -> list[str]:
    """What groups are read from: of image files the path, else the id."""
    if dataset.kind != 'image_file':
        return [str(i) for i in dataset.ids]
    return [readable(str(path)) for path in dataset.inputs]


def _by_pattern(dataset: Dataset, pattern: str) -> Dataset:
    found = [re.search(pattern, name) for name in names_of(dataset)]
    groups = ['' if match is None else match['group'] or '' for match in found]
    dataset = dataclasses.replace(dataset, groups=groups)
    _check_complete(dataset, f'no match of data.group_pattern {pattern!r}')
    return dataset


def _check_complete(dataset: Dataset, why: str) -> None:
    missing = [str(i) for i, group in zip(dataset.ids, dataset.groups, strict=True) if not group]
    if missing:
        some = ', '.join(missing[:3]) + (', ..' if len(missing) > 3 else '')
        raise UserError(
            f'{dataset.name}: {len(missing):,} of {len(dataset):,} examples have {why} and so no '
            f'group: {some}'
        )


def _check_apart(parts: Mapping[str, Dataset]) -> None:
    names = [name for name, part in parts.items() if len(part) and len(part.groups)]
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            both = np.intersect1d(parts[name].groups.astype(str), parts[other].groups.astype(str))
            if len(both):
                some = ', '.join(both[:3]) + (', ..' if len(both) > 3 else '')
                raise UserError(
                    f'{parts[name].name}: {len(both):,} groups lie in {name} and in {other} '
                    f'({some}); put each into one split, or leave out data.group_column and '
                    'data.group_pattern'
                )
