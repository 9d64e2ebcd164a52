"""A folder of images: one folder a class, optionally below train, val and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import SUFFIXES
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.folder_layout import split_folders, unwrapped
from ftjax.data.sources.folders.image_tree import (
    PassedOver,
    image_files,
    loose_images,
    readable,
    subfolders,
)
from ftjax.data.sources.registry import Parts
from ftjax.data.user_paths import existing_folder
from ftjax.errors import UserError, did_you_mean


def read(argument: str, settings: DataSettings) -> Parts:
    """Class names are the folders' names, sorted; files that are no images are passed over.

    Raises:
      UserError: for a missing folder, no images, an empty class, a class that training lacks.
    """
    if not settings.label_kind.one_class:
        raise UserError(
            f"{settings.source}: class folders hold classes; use 'csv:' for values, 'masks:' for "
            'a class for each pixel'
        )
    given = existing_folder(argument, f'data.source {settings.source}')
    root = unwrapped(given, settings.class_names)
    splits = split_folders(root, settings)
    roots = splits or {'train': root}
    passed, notes = PassedOver(), []
    if root != given:
        notes.append(f'{given}: read {root.relative_to(given)}, the one folder in it')
    first = 'train' if 'train' in roots else next(iter(roots))
    roots[first] = unwrapped(roots[first], settings.class_names, within_split=bool(splits))
    classes = _classes(roots[first], settings, passed)
    names = tuple(readable(name) for name in classes)
    parts = {}
    for split, folder in roots.items():
        inner = folder if split == first else unwrapped(folder, classes, True)
        parts[split] = _read_split(inner, given, f'{given.name} {split}', classes, passed)
        if loose := loose_images(inner):
            passed.loose(inner, loose)
    made = {
        split: dataclasses.replace(
            part,
            class_names=names,
            task=settings.task,
            channels=settings.channels,
        )
        for split, part in parts.items()
    }
    has = ', '.join(roots)
    return Parts(
        reads=(),
        train=made.get('train'),
        val=made.get('val'),
        test=made.get('test'),
        notes=(*notes, *passed.notes(given)),
        no_train=f'{given}: has {has} but no train folder to train on',
    )


def _classes(folder: Path, settings: DataSettings, passed: PassedOver) -> dict[str, int]:
    """Folder names to labels."""
    names = subfolders(folder, passed)
    if not names:
        loose = len(image_files(folder))
        inside = f'{loose} images but no class folders' if loose else 'no images'
        raise UserError(f'{folder}: {inside}; expected one folder of images per class')
    for name in names:
        if readable(name) != name:
            passed.renamed(readable(name))
    if not settings.class_names:
        return {name: label for label, name in enumerate(names)}
    by_name = {readable(name): name for name in names}
    for name in by_name:
        if name not in settings.class_names:
            near = did_you_mean(name, settings.class_names)
            raise UserError(f'{folder}: folder {name!r} is not in data.class_names; {near}')
    missing = [name for name in settings.class_names if name not in by_name]
    if missing:
        raise UserError(f'{folder}: no folder for class {missing[0]!r} of data.class_names')
    return {by_name[name]: label for label, name in enumerate(settings.class_names)}


def _read_split(
    folder: Path, root: Path, name: str, classes: Mapping[str, int], passed: PassedOver
) -> Dataset:
    paths, labels, ids = [], [], []
    for found in subfolders(folder, passed):
        if found not in classes:
            near = did_you_mean(found, classes)
            raise UserError(f'{folder}: class {found!r} does not occur in training; {near}')
    counts = []
    for class_name, label in classes.items():
        there = (folder / class_name).is_dir()
        files = image_files(folder / class_name, passed) if there else []
        counts.append(len(files))
        paths += files
        labels += [label] * len(files)
    if not paths:
        raise UserError(f'{folder}: no images; looked for {", ".join(SUFFIXES)}')
    for class_name, count in zip(classes, counts, strict=True):
        if not count and (folder / class_name).is_dir():
            raise UserError(
                f'{folder / class_name}: class {class_name!r} is empty; add images '
                f'({", ".join(SUFFIXES[:3])}, ..) or remove the folder'
            )
    for path in paths:
        raw = Path(path).relative_to(root).as_posix()
        if readable(raw) != raw and Path(raw).name != readable(Path(raw).name):
            passed.renamed(readable(Path(raw).name))
        ids.append(readable(raw))
    return Dataset(
        name=name,
        kind='image_file',
        inputs=paths,
        labels=np.array(labels, np.int32),
        class_names=tuple(readable(name) for name in classes),
        ids=ids,
    )
