"""Folders of images and of their masks: `masks:PATH`, a class for each pixel."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import SUFFIXES, upright_size
from ftjax.data.images.verify import DECODE_UP_TO
from ftjax.data.labels.pixels import told_size
from ftjax.data.masks.mask import MaskFile, highest_value, masks
from ftjax.data.masks.mask_values import MaskValues
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import PassedOver, image_files, readable, subfolders
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.split_names import split_of
from ftjax.data.user_paths import existing_folder
from ftjax.errors import UserError

IMAGES = ('images', 'image', 'imgs', 'img')
MASKS = ('masks', 'mask', 'labels', 'label', 'annotations', 'annotation')
NAMES = 'classes.txt'
"""A file beside the folders, with the name of each class on a line."""
EXPECTED = (
    'expected images/ and masks/ in it, or in train/, val/ and test/, or with these in both; a '
    'mask has the name of its image'
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The folder of the images of a split, and that of their masks."""

    images: Path
    masks: Path


def read(argument: str, settings: DataSettings) -> Parts:
    """Images with a mask each, PNG files, indexed, grey, or in the colours of `data.palette`.

    Classes are called as data.class_names says, or a file classes.txt in the folder, or by number.

    Raises:
      UserError: a missing folder; no images; an image without mask, or with one of another size; a
        value that is no class.
    """
    root = existing_folder(argument, f'data.source {settings.source}')
    passed, notes = PassedOver(), []
    found = {split: _paired(pair, root, passed, notes) for split, pair in _layout(root).items()}
    names = _names(root, settings)
    if settings.palette and names and len(settings.palette) != len(names):
        raise UserError(
            f'data.palette has {len(settings.palette)} colours and there are {len(names)} classes'
        )
    paths = [mask for pairs in found.values() for _, mask in pairs]
    if not names and settings.palette:
        names = tuple(map(str, range(len(settings.palette))))
    if not names:
        highest = max(_all(lambda path: highest_value(path, settings.ignore_index), paths))
        names = tuple(str(v) for v in range(highest + 1) if v != settings.ignore_index)
    values = MaskValues(len(names), settings.ignore_index, settings.palette)
    if settings.verify != 'none':
        _check_sizes([pair for pairs in found.values() for pair in pairs])
    few = settings.verify == 'auto' and len(paths) <= DECODE_UP_TO
    if few or settings.verify == 'decode':
        _all(lambda path: MaskFile(path, values).read().shape, paths)
    made = {
        split: Dataset(
            name=f'{root.name} {split}',
            kind='image_file',
            inputs=[image for image, _ in pairs],
            labels=masks([MaskFile(mask, values) for _, mask in pairs]),
            class_names=names,
            task=_task(settings),
            ids=[readable(Path(image).relative_to(root).as_posix()) for image, _ in pairs],
            channels=settings.channels,
        )
        for split, pairs in found.items()
    }
    return Parts(
        reads=(),
        train=made.get('train'),
        val=made.get('val'),
        test=made.get('test'),
        notes=(*notes, *passed.notes(root)),
        no_train=f'{root}: has {", ".join(made)} but no train folder to train on',
    )


def _task(settings: DataSettings) -> str:
    """The settings' own, if it has labels for pixels."""
    return settings.task if settings.label_kind.head == 'dense' else 'segmentation'


def _layout(root: Path) -> dict[str, Pair]:
    """The two folders of each split; those of all examples stand for training."""
    pair = _pair(root)
    if pair is not None:
        images, labels = (_splits(folder) for folder in (pair.images, pair.masks))
        if images and set(images) == set(labels):
            return {split: Pair(images[split], labels[split]) for split in images}
        return {'train': pair}
    splits = {split: _pair(folder) for split, folder in _splits(root).items()}
    found = {split: pair for split, pair in splits.items() if pair is not None}
    if not found:
        raise UserError(f'{root}: {EXPECTED}')
    return found


def _pair(folder: Path) -> Pair | None:
    names = {name.lower(): name for name in reversed(subfolders(folder))}
    images = next((names[name] for name in IMAGES if name in names), None)
    labels = next((names[name] for name in MASKS if name in names), None)
    return None if images is None or labels is None else Pair(folder / images, folder / labels)


def _splits(folder: Path) -> dict[str, Path]:
    known = ((split_of(name), folder / name) for name in subfolders(folder))
    return {split[0]: path for split, path in known if split is not None}


def _paired(pair: Pair, root: Path, passed: PassedOver, notes: list[str]) -> list[tuple[str, str]]:
    """(image, mask) of each image, by the name below its folder without the ending."""
    images = image_files(pair.images, passed)
    if not images:
        raise UserError(f'{pair.images}: no images; looked for {", ".join(SUFFIXES)}')
    known = _by_name(image_files(pair.masks, passed), pair.masks)
    wanted = _by_name(images, pair.images)
    missing = [path for name, path in wanted.items() if name not in known]
    if missing:
        more = f' [and {len(missing) - 1} more images without mask]' if len(missing) > 1 else ''
        raise UserError(
            f'{missing[0]}: has no mask in {pair.masks}; expected a PNG file of the same name{more}'
        )
    over = len(set(known) - set(wanted))
    if over:
        notes.append(f'{pair.masks.relative_to(root)}: passed over {over:,} masks without image')
    return [(path, known[name]) for name, path in wanted.items()]


def _by_name(paths: Sequence[str], folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        name = Path(path).relative_to(folder).with_suffix('').as_posix()
        if name in found:
            raise UserError(f'{path} and {found[name]} have one name; expected one file of each')
        found[name] = path
    return found


def _names(root: Path, settings: DataSettings) -> tuple[str, ...]:
    if settings.class_names or not (root / NAMES).is_file():
        return settings.class_names
    try:
        lines = (root / NAMES).read_text('utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{root / NAMES}: cannot be read as text ({error})') from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) < len(names):
        raise UserError(f'{root / NAMES}: names a class twice')
    return names


def _check_sizes(pairs: Sequence[tuple[str, str]]) -> None:
    sizes = _all(lambda pair: (upright_size(pair[0]), upright_size(pair[1])), pairs)
    differ = [place for place, (image, mask) in enumerate(sizes) if image != mask]
    if differ:
        (image, mask), (size, other) = pairs[differ[0]], sizes[differ[0]]
        more = f' [and {len(differ) - 1} more]' if len(differ) > 1 else ''
        raise UserError(
            f'{mask} is {told_size(other)} and its image {image} {told_size(size)}; expected the '
            f'same{more}'
        )


def _all(look: Callable[[Any], Any], files: Sequence[Any]) -> list[Any]:
    """What is found of each file, by threads; the first error is raised."""
    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(look, files))
