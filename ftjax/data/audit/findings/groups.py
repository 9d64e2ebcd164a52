"""Signs that examples belong together: several of one patient, speaker or film.

Where some of them are trained on and others tested on, a network may know the patient and not
the disease. What is found here are signs alone, in ids, file names and columns.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence

from ftjax.data.audit.finding import Finding
from ftjax.data.dataset import Dataset, Splits
from ftjax.data.sources.folders.image_tree import readable
from ftjax.data.sources.split_names import split_of

_FEWEST_GROUPS = 5
_LARGEST_SHARE = 0.5  # of the examples that one group may hold
_NAMED = 0.9  # share of the ids that must have the form
_SAMPLE = 200  # ids of each split that are looked at first


@dataclasses.dataclass(frozen=True)
class Shared:
    """Groups that seem to lie in two splits."""

    groups: int
    """In all splits."""
    shared: int
    """Of those of the held-out split, in the training split too."""
    of: int
    """In the held-out split."""
    split: str
    """Which that is."""
    seen: str
    """"names such as 'p01_3' suggest" or "the column 'patient_id' suggests"."""
    remedy: str
    """What keeps groups whole."""


def group_findings(splits: Splits) -> Iterator[Finding]:
    """Groups that seem to lie in two splits, where the config names no groups."""
    if len(splits.train.groups):
        return
    told = set()
    for found in shared_groups(splits):
        # What keeps groups of the test split whole keeps those of the validation split so too.
        if found.shared and (found.seen, found.remedy) not in told:
            told.add((found.seen, found.remedy))
            yield Finding(
                'groups in two splits',
                'warning',
                f'{found.seen} {found.groups:,} groups of examples that belong together, and '
                f'{found.shared:,} of the {found.of:,} in the {found.split} split are in training '
                f'too: if so, scores are too good; {found.remedy}',
                measured=found.shared / max(found.of, 1),
            )


def shared_groups(splits: Splits) -> Iterator[Shared]:
    """Groups of training and test, then of training and validation examples.

    They are those of each column that seems to name groups; where none does, of ids and paths.
    """
    for split, held in (('test', splits.test), ('validation', splits.val)):
        if len(held) and len(splits.train):
            parts = (splits.train, held)
            found = [*_of_columns(splits, parts, split)]
            yield from found or _of_names(splits, parts, split)


def _of_columns(splits: Splits, parts: Sequence[Dataset], split: str) -> Iterator[Shared]:
    for column, of in splits.group_columns.items():
        train, held = ([of.get(str(i), '') for i in part.ids] for part in parts)
        if _grouped([*train, *held], 0):
            remedy = _remedy(splits, split, f'data.group_column={column!r}')
            yield _shared(train, held, split, f'the column {column!r} suggests', remedy)


def _of_names(splits: Splits, parts: Sequence[Dataset], split: str) -> Iterator[Shared]:
    """By the first of the ways to read a group from a name that parts the examples."""
    paths = [_paths(part) for part in parts]
    some = [path for of in paths for path in of[:: max(1, len(of) // _SAMPLE)]]
    finders = [f for f in _finders() if sum(bool(f(path)) for path in some) > 0.5 * len(some)]
    for find in finders:
        train, held = ([find(path) for path in of] for of in paths)
        if _grouped([*train, *held], splits.train.num_classes):
            remedy = _remedy(splits, split, 'data.group_pattern')
            seen = f'names such as {paths[0][0]!r} suggest'
            yield _shared(train, held, split, seen, remedy)
            return


def _remedy(splits: Splits, split: str, setting: str) -> str:
    if {'validation': 'val'}.get(split, split) in splits.given:
        # With the setting the run would be refused: no setting moves what the source gives.
        return f'the {split} split is given: leave their training rows out (data.exclude)'
    return f'{setting} keeps groups whole'


def _shared(
    train: Sequence[str], held: Sequence[str], split: str, seen: str, remedy: str
) -> Shared:
    own, other = set(train) - {''}, set(held) - {''}
    return Shared(len(own | other), len(own & other), len(other), split, seen, remedy)


def _paths(dataset: Dataset) -> list[str]:
    """Of each example the path below its class's folder, or its id."""
    if dataset.kind != 'image_file':
        return [str(i) for i in dataset.ids]
    known = set(dataset.class_names)
    found = []
    for path in dataset.inputs:
        parts = readable(str(path)).split('/')
        cut = [n for n, part in enumerate(parts[:-1]) if part in known or split_of(part)]
        found.append('/'.join(parts[cut[-1] + 1 :] if cut else parts))
    if all(path.startswith('/') for path in found):
        top = os.path.commonpath(found)
        found = [os.path.relpath(path, top) for path in found]
    return found


def _finders() -> list[Callable[[str], str]]:
    """What of a path may name its group: its folder, or its first words."""

    def words(count: int) -> Callable[[str], str]:
        def first(path: str) -> str:
            stem = os.path.splitext(path.split('/')[-1])[0]
            found = [word for word in re.split(r'[ _.\-]+', stem) if word]
            # With a number: 'speedboat_s_3' tells what was looked for, not whose it is.
            own = ' '.join(found[:count])
            return own if len(found) > count and any(c.isdigit() for c in own) else ''

        return first

    return [os.path.dirname, words(1), words(2), words(3)]


def _grouped(found: Sequence[str], classes: int) -> bool:
    """Whether what was found parts the examples in groups, and not in classes or at random."""
    named = [each for each in found if each]
    if len(named) < _NAMED * len(found):
        return False
    sizes: dict[str, int] = {}
    for each in named:
        sizes[each] = sizes.get(each, 0) + 1
    several = sum(size for size in sizes.values() if size > 1)
    return (
        len(sizes) >= max(_FEWEST_GROUPS, 2 * classes + 1)
        and several >= 0.5 * len(named)
        and max(sizes.values()) <= _LARGEST_SHARE * len(named)
    )
