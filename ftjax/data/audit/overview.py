"""The first screen of a run: sizes of the splits, classes, and what is to be known of them."""

from __future__ import annotations

import numpy as np

from ftjax.data.audit.copies import copies
from ftjax.data.audit.groups import shared_groups
from ftjax.data.dataset import Dataset, Splits

_LISTED = 12
"""Classes that are listed one by one; of more the smallest and the largest are."""


def overview(splits: Splits) -> str:
    """The sizes on one line, and a line each for what is to be known.

    >>> data = Dataset(name='d', kind='text', inputs='abc', labels=[0, 1, 1], class_names='xy')
    >>> print(overview(Splits(train=data, val=data.take([2]), test=data.take([]))))
    train 3 · val 1 · test 0 texts, 2 classes (in training: x 1, y 2)
    note: the validation split has no example of 'x'
    note: 1 of 1 validation examples are, byte for byte, training examples too: scores on them \
are of what was seen
    note: there is no test split
    """
    return '\n'.join([sizes(splits), *(f'note: {note}' for note in findings(splits))])


def sizes(splits: Splits) -> str:
    """`train 194 · val 153 · test 49 images, 2 classes (in training: ants 98, bees 96)`."""
    parts = (('train', splits.train), ('val', splits.val), ('test', splits.test))
    counts = ' · '.join(f'{name} {len(part)}' for name, part in parts)
    what = {'table': 'rows'}.get(splits.train.takes, splits.train.takes)
    return f'{counts} {what}{_labels(splits.train)}'


def findings(splits: Splits) -> tuple[str, ...]:
    """Sentences: what reading said, what no example tests, what splits share."""
    found = list(splits.notes)
    for name, part in (('validation', splits.val), ('test', splits.test)):
        if not len(part):
            found.append(f'there is no {name} split')
            continue
        missing = _without(part)
        if missing:
            found.append(f'the {name} split has no example of {_few(missing)}')
        twins = len(copies(part, splits.train))
        if twins:
            found.append(
                f'{twins:,} of {len(part):,} {name} examples are, byte for byte, training examples'
                ' too: scores on them are of what was seen'
            )
    groups = shared_groups(splits)
    if groups is not None and groups.shared:
        found.append(
            f'{groups.seen} {groups.groups:,} groups of examples that belong together, and '
            f'{groups.shared:,} of the {groups.of:,} in the {groups.split} split are in training '
            'too: if so, scores are too good; give splits that keep groups whole'
        )
    return tuple(found)


def _labels(train: Dataset) -> str:
    if not len(train):
        return ''
    counts = train.label_kind.counts(train.labels, train.num_classes)
    if counts is None:
        return train.label_kind.summary(train.labels)
    if len(counts) <= _LISTED:
        listed = ', '.join(f'{n} {c}' for n, c in zip(train.class_names, counts, strict=True))
    else:
        few, most = int(np.argmin(counts)), int(np.argmax(counts))
        listed = (
            f'{train.class_names[few]} {counts[few]} .. {train.class_names[most]} {counts[most]}'
        )
    return f', {len(counts):,} classes (in training: {listed})'


def _without(dataset: Dataset) -> list[str]:
    counts = dataset.label_kind.counts(dataset.labels, dataset.num_classes)
    return (
        []
        if counts is None
        else [n for n, c in zip(dataset.class_names, counts, strict=True) if not c]
    )


def _few(names: list[str]) -> str:
    more = f' and {len(names) - 3:,} more classes' if len(names) > 3 else ''
    return ', '.join(repr(name) for name in names[:3]) + more
