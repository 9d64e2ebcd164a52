"""A folder of images: one folder a class, optionally below train, val and test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images import SUFFIXES
from ftjax.data.paths import existing_folder
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.verify import verify_images
from ftjax.errors import UserError, did_you_mean

SPLIT_NAMES = {
    'train': 'train',
    'training': 'train',
    'val': 'val',
    'valid': 'val',
    'validation': 'val',
    'dev': 'val',
    'test': 'test',
    'testing': 'test',
}
"""Folder and file names that mean a split."""


def read(argument: str, settings: DataSettings) -> Parts:
    """Class names are the folders' names, sorted; files that are no images are passed over.

    Raises:
      UserError: for a missing folder, no images, an empty class, a class that training lacks.
    """
    if settings.task != 'classification':
        raise UserError(f"{settings.source}: class folders hold classes; use 'csv:' for values")
    root = existing_folder(argument, f'data.source {settings.source}')
    folders = _folders(root)
    splits = {name: SPLIT_NAMES[name] for name in folders if name in SPLIT_NAMES}
    if 'train' not in splits.values():
        splits = {}  # plain classes, one of which may be called 'test'
    roots = {'train': root}
    if splits:
        stray = [name for name in folders if name not in splits]
        if stray:
            raise UserError(
                f'{root}: folder {stray[0]!r} stands beside train; expected only splits there '
                '(train, val, test) or only classes'
            )
        if len(set(splits.values())) < len(splits):
            raise UserError(f'{root}: two folders for one split among {", ".join(splits)}')
        roots = {split: root / name for name, split in splits.items()}
    classes = _classes(roots['train'], settings)
    parts = {
        split: _read_split(folder, root, f'{root.name} {split}', classes, settings)
        for split, folder in roots.items()
    }
    verify_images([path for part in parts.values() for path in part.inputs], settings.verify)
    return Parts(**parts)


def image_files(folder: Path) -> list[str]:
    """Paths of all images below a folder, sorted; hidden files and folders are left out."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith('.'):
                found.append(os.path.join(where, name))
    return sorted(found)


def _classes(folder: Path, settings: DataSettings) -> list[str]:
    names = _folders(folder)
    if not names:
        loose = len(image_files(folder))
        inside = f'{loose} images but no class folders' if loose else 'no images'
        raise UserError(f'{folder}: {inside}; expected one folder of images per class')
    if not settings.class_names:
        return names
    for name in names:
        if name not in settings.class_names:
            near = did_you_mean(name, settings.class_names)
            raise UserError(f'{folder}: folder {name!r} is not in data.class_names; {near}')
    missing = [name for name in settings.class_names if name not in names]
    if missing:
        raise UserError(f'{folder}: no folder for class {missing[0]!r} of data.class_names')
    return list(settings.class_names)


def _read_split(
    folder: Path, root: Path, name: str, classes: Sequence[str], settings: DataSettings
) -> Dataset:
    paths, labels = [], []
    for found in _folders(folder):
        if found not in classes:
            near = did_you_mean(found, classes)
            raise UserError(f'{folder}: class {found!r} does not occur in training; {near}')
    counts = []
    for label, class_name in enumerate(classes):
        files = image_files(folder / class_name) if (folder / class_name).is_dir() else []
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
    return Dataset(
        name=name,
        kind='image_file',
        inputs=paths,
        labels=np.array(labels, np.int32),
        class_names=tuple(classes),
        ids=[Path(path).relative_to(root).as_posix() for path in paths],
        channels=settings.channels,
    )


def _folders(folder: Path) -> list[str]:
    try:
        entries = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except PermissionError as error:
        raise UserError(f'{folder}: may not be read; check its permissions') from error
    return sorted(name for name in entries if name[0] not in '._')
