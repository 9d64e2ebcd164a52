"""The first screen of a run: sizes of the splits, classes, and what is to be known of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.data.audit.quick import leak_line, quick_audit
from ftjax.data.dataset import Dataset, Splits
from ftjax.data.images.geometry import geometry_for
from ftjax.data.text.readers import reader_class
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.printable import printable

_LISTED = 12
"""Classes that are listed one by one; of more the smallest and the largest are."""


def overview(splits: Splits, seen: str = '') -> str:
    """The sizes on one line, what of them stands twice, and a line each for what is to be known.

    `seen` is what the network sees of an example: see `seen_by`.

    >>> data = Dataset(name='d', kind='text', inputs='abc', labels=[0, 1, 1], class_names='xy')
    >>> print(overview(Splits(train=data, val=data.take([2]), test=data.take([]))))
    train 3 · val 1 · test 0 texts, 2 classes (in training: x 1, y 2)
    also in training: val 1 exact, 0 near
    note: the validation split has no example of 'x'
    note: there is no test split
    note: training has a single example of 'x'
    note: 1 of 1 validation examples stand in training too, the same input: scores on them are of \
what was seen
    """
    lines = [sizes(splits), seen, leak_line(quick_audit(splits))]
    return '\n'.join([*filter(None, lines), *(f'note: {note}' for note in findings(splits))])


def seen_by(
    train: Dataset,
    preprocessing: Preprocessing | TextPreprocessing | None,
    image_size: tuple[int, int] | None = None,
) -> str:
    """What a network gets of an example: size and colour of images, tokens of texts.

    >>> from ftjax.preprocessing.images import Preprocessing
    >>> grey = np.zeros((2, 28, 28, 1), np.uint8)
    >>> data = Dataset(name='d', kind='image', inputs=grey, labels=[0, 1], class_names='xy')
    >>> half = (0.5,) * 3
    >>> seen_by(data, Preprocessing(image_size=(224, 224), mean=half, std=half))
    'the network sees 224 x 224 pixels in RGB, made from 28 x 28 pixels in grey'
    """
    if train.kind == 'text':
        if not isinstance(preprocessing, TextPreprocessing):
            return ''
        return reader_class(train.label_kind).seen(train, preprocessing)
    images = train.kind in ('image', 'image_file', 'tfds')
    if not images or not isinstance(preprocessing, Preprocessing):
        return ''
    seen = geometry_for(train, image_size, preprocessing)
    told = f'the network sees {_pixels(seen.shape)}'
    read = (*seen.shape[:2], 1) if seen.grey else seen.shape
    own = train.inputs.shape[1:] if train.kind == 'image' else read
    return told if own == seen.shape else f'{told}, made from {_pixels(own)}'


def _pixels(shape: Sequence[int]) -> str:
    height, width, channels = shape
    colour = {1: 'in grey', 3: 'in RGB'}.get(channels, f'of {channels} channels')
    return f'{height} x {width} pixels {colour}'


def sizes(splits: Splits) -> str:
    """`train 194 · val 153 · test 49 images, 2 classes (in training: ants 98, bees 96)`."""
    parts = (('train', splits.train), ('val', splits.val), ('test', splits.test))
    counts = ' · '.join(f'{name} {len(part)}' for name, part in parts)
    what = {'table': 'rows'}.get(splits.train.takes, splits.train.takes)
    return f'{counts} {what}{_labels(splits.train)}'


def findings(splits: Splits) -> tuple[str, ...]:
    """Sentences: what reading said, what no example tests, what splits share."""
    return (*splits.notes, *(one.message for one in quick_audit(splits).findings))


def _labels(train: Dataset) -> str:
    if not len(train):
        return ''
    counts = train.label_kind.counts(train.labels, train.num_classes)
    if counts is None:
        return train.label_kind.summary(train.labels)
    names = [printable(name) for name in train.class_names]
    if len(counts) <= _LISTED:
        listed = ', '.join(f'{n} {c}' for n, c in zip(names, counts, strict=True))
    else:
        few, most = int(np.argmin(counts)), int(np.argmax(counts))
        listed = f'{names[few]} {counts[few]} .. {names[most]} {counts[most]}'
    return f', {len(counts):,} classes (in training: {listed})'
