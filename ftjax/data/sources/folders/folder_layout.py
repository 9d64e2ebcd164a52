"""Which folders of a data set are splits, and which are classes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import has_images, loose_images, subfolders
from ftjax.data.sources.split_names import split_of
from ftjax.errors import UserError


def unwrapped(folder: Path, classes: Collection[str] = (), within_split: bool = False) -> Path:
    """The folder that holds the classes, or the splits: below folders that hold one alone.

    Unpacked archives often have one folder around everything. A folder called as one of
    `classes` is not such a one, nor is one called as a split unless it lies in a split.
    """
    while True:
        inner = subfolders(folder)
        if len(inner) != 1 or inner[0] in classes or loose_images(folder):
            return folder
        if split_of(inner[0]) and not within_split:
            return folder
        if not holds_classes(folder / inner[0]):
            return folder
        folder = folder / inner[0]


def split_folders(root: Path, settings: DataSettings) -> dict[str, Path]:
    """The folder of each split; {} where the folders of `root` are classes.

    Names may be written with capitals, and with one more word that is the same for all
    (`seg_train`, `seg_test`). A folder with images of its own and no folders with images is a
    class, whatever it is called, where folders beside it are no splits.

    Raises:
      UserError: splits and other folders side by side, two folders for one split.
    """
    names = subfolders(root)
    known = {name: found for name in names if (found := split_of(name))}
    if not known or set(names) <= set(settings.class_names):
        return {}
    holding = [name for name in known if holds_classes(root / name)]
    stray = [name for name in names if name not in known]
    rests = {rest for _, rest in known.values()}
    if stray:
        plain = [name for name in holding if known[name][1] == '']
        alike = [name for name in holding if len(rests) == 1 and len(known) > 1]
        if plain or alike:
            raise UserError(
                f'{root}: folder {stray[0]!r} stands beside {(plain or alike)[0]}; expected only '
                'splits there (train, val, test) or only classes'
            )
        return {}
    if not holding and (len(rests) > 1 or 'train' not in {split for split, _ in known.values()}):
        return {}  # classes called 'test' and 'val', or 'pre_test' and 'post_test'
    if len({split for split, _ in known.values()}) < len(known):
        if not holding:
            return {}
        raise UserError(f'{root}: two folders for one split among {", ".join(known)}')
    if len(rests) > 1:
        raise UserError(
            f'{root}: are {", ".join(known)} splits or classes? Name splits train, val and test; '
            'classes can be named in data.class_names'
        )
    return {split: root / name for name, (split, _) in known.items()}


def holds_classes(folder: Path) -> bool:
    """Whether there are folders with images in a folder."""
    return any(has_images(folder / name) for name in subfolders(folder))
