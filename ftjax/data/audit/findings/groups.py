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
    found = None if len(splits.train.groups) else shared_groups(splits)
    if found is not None and found.shared:
        yield Finding(
            'groups in two splits',
            'warning',
            f'{found.seen} {found.groups:,} groups of examples that belong together, and '
            f'{found.shared:,} of the {found.of:,} in the {found.split} split are in training '
            f'too: if so, scores are too good; {found.remedy}',
            measured=found.shared / max(found.of, 1),
        )


def shared_groups(splits: Splits) -> Shared | None:
    """Groups with examples in training and in test (or validation); None for no sign."""
    split, held = ('test', splits.test) if len(splits.test) else ('validation', splits.val)
    if not len(held) or not len(splits.train):
        return None
    parts = (splits.train, held)
    if splits.groups:
        seen, classes = f'the column {splits.group_column!r} suggests', 0
        found = [[splits.groups.get(str(i), '') for i in part.ids] for part in parts]
        candidates = [found]
        setting = f'data.group_column={splits.group_column!r}'
    else:
        classes = splits.train.num_classes
        paths = [_paths(part) for part in parts]
        example = paths[0][0]
        seen = f'names such as {example!r} suggest'
        setting = 'data.group_pattern'
        some = [path for of in paths for path in of[:: max(1, len(of) // _SAMPLE)]]
        finders = [f for f in _finders() if sum(bool(f(path)) for path in some) > 0.5 * len(some)]
        candidates = ([[find(path) for path in of] for of in paths] for find in finders)
    remedy = f'{setting} keeps groups whole'
    if {'validation': 'val'}.get(split, split) in splits.given:
        # With the setting the run would be refused: no setting moves what the source gives.
        remedy = f'the {split} split is given: leave their training rows out (data.exclude)'
    for train, test in candidates:
        if _grouped([*train, *test], classes):
            both = (set(train) & set(test)) - {''}
            every = set(train) | set(test)
            return Shared(len(every - {''}), len(both), len(set(test) - {''}), split, seen, remedy)
    return None


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
