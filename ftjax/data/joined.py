"""Two data sets of one kind as one."""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError


def joined(first: Dataset, second: Dataset) -> Dataset:
    """The examples of the first, then the second, under the first one's name; without groups.

    Raises:
      UserError: inputs of another kind or shape, or other classes.
    """
    if first.kind != second.kind or first.kind in ('tfds', 'table'):
        raise UserError(
            f'{first.name} holds {first.kind} and {second.name} {second.kind}, which cannot be '
            'joined; expected one kind of images or texts'
        )
    shapes = [np.shape(data.inputs)[1:] for data in (first, second)]
    if shapes[0] != shapes[1] or first.class_names != second.class_names:
        raise UserError(
            f'{first.name} and {second.name} differ: inputs of shape {shapes[0]} and {shapes[1]}, '
            f'{first.num_classes} and {second.num_classes} classes'
        )
    return dataclasses.replace(
        first,
        inputs=np.concatenate([first.inputs, second.inputs]),
        labels=np.concatenate([first.labels, second.labels]),
        ids=[*first.ids, *(f'{second.name}/{name}' for name in second.ids)],
        groups=(),  # the splits are made; training asks for none
        columns={},  # of the second nobody knows them
    )
