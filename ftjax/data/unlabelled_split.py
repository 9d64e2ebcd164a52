"""Examples without labels, as `data.unlabelled` names them: for what adapts to inputs alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.other_source import NOT_OF_OTHERS
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import image_files
from ftjax.data.sources.registry import read_source, verified
from ftjax.data.user_paths import existing_folder
from ftjax.errors import UserError


def read_unlabelled(settings: DataSettings, train: Dataset) -> Dataset | None:
    """All examples of `data.unlabelled`, labels and splits put aside; None where it is empty.

    A folder is read with all images below it, however they are sorted. Other sources are read as
    `data.source` is, and need labels to be read by, which are then put aside.

    Args:
      settings: of the task's data; the columns and so on are the same.
      train: the task's training split, for classes and kind.

    Raises:
      UserError: what cannot be read, or examples of another kind.
    """
    if not settings.unlabelled:
        return None
    name, _, argument = settings.unlabelled.partition(':')
    if name == 'folder' and argument:
        return _images(existing_folder(argument, 'data.unlabelled'), settings, train)
    own = dataclasses.replace(
        settings,
        source=settings.unlabelled,
        unlabelled='',
        examples_per_class=None,
        group_pattern='',
        **NOT_OF_OTHERS,
    )
    parts = read_source(own)
    every = [*parts.given.values(), *([parts.unlabelled] if parts.unlabelled else [])]
    for part in every:
        if part.kind != train.kind:
            raise UserError(f'{part.name} holds {part.kind}, and {train.name} {train.kind}')
    return _without_labels(every, train)


def _images(folder: Path, settings: DataSettings, train: Dataset) -> Dataset:
    paths = image_files(folder)
    if not paths:
        raise UserError(f'data.unlabelled: {folder} holds no images')
    made = Dataset(
        name=f'{settings.unlabelled} unlabelled',
        kind='image_file',
        inputs=paths,
        labels=_placeholders(len(paths), train),
        class_names=train.class_names,
        task=train.task,
        ids=[Path(path).relative_to(folder).as_posix() for path in paths],
        channels=settings.channels,
    )
    return verified({'unlabelled': made}, settings.verify)[0]['unlabelled']


def _without_labels(parts: list[Dataset], train: Dataset) -> Dataset:
    if len(parts) > 1 and parts[0].kind in ('tfds', 'table'):
        raise UserError(f'{parts[0].name}: name one split, as tfds:NAME:SPLIT, without labels')
    inputs = parts[0].inputs if len(parts) == 1 else np.concatenate([p.inputs for p in parts])
    return dataclasses.replace(
        parts[0],
        inputs=inputs,
        labels=_placeholders(sum(map(len, parts)), train),
        class_names=train.class_names,
        task=train.task,
        groups=(),
        ids=[f'{n}/{name}' for n, part in enumerate(parts) for name in part.ids],
    )


def _placeholders(count: int, train: Dataset) -> np.ndarray:
    if train.labels.dtype == object:
        raise UserError(
            'data.unlabelled is for train.adapt, which needs one class an example; data.task is '
            f'{train.task}'
        )
    return np.zeros((count, *train.labels.shape[1:]), train.labels.dtype)
