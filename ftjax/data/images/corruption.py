"""Shifted data for studies of distribution shift: fixed noise on images, or labels turned round."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.distortions import DISTORTIONS
from ftjax.errors import UserError, check_name

LABEL_FLIP = 'label_flip'
CORRUPTIONS = ('none', LABEL_FLIP, *DISTORTIONS)


def parse_corruption(text: str) -> tuple[str, float]:
    """Name and amount of `none`, `label_flip`, or a row of DISTORTIONS; raises UserError.

    >>> parse_corruption('gaussian_noise:0.10')
    ('gaussian_noise', 0.1)
    """
    name, colon, amount = text.partition(':')
    check_name(name, CORRUPTIONS, 'data.corruption')
    if name in ('none', LABEL_FLIP) and not colon:
        return name, 0.0
    _, most, example = DISTORTIONS.get(name, (None, 0.0, ''))
    try:
        strength = float(amount)
    except ValueError:
        strength = -1.0
    if not 0 < strength <= most:
        expected = f'{name}:{example}, above 0 and at most {most:g}' if example else name
        raise UserError(f'data.corruption is {text!r}; expected {expected}')
    return name, strength


def corrupt(dataset: Dataset, text: str) -> Dataset:
    """The data set with its images corrupted, rounded to uint8 as in ImageNet-C, or labels flipped.

    Which noise an example gets depends on its id alone: it looks the same in every split,
    subset and run. Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, section 3.

    Raises:
      UserError: for images that are not in memory, for texts, for labels that are no classes, for
        an unknown corruption.
    """
    name, strength = parse_corruption(text)
    if name == 'none':
        return dataset
    if name == LABEL_FLIP:
        if not dataset.label_kind.one_class:
            raise UserError(f'data.corruption label_flip needs classes, not {dataset.task}')
        labels = dataset.num_classes - 1 - dataset.labels
        return dataclasses.replace(dataset, labels=labels, name=f'{dataset.name}+{text}')
    if dataset.kind != 'image':
        raise UserError(
            f'data.corruption works on images in memory; {dataset.name} holds {dataset.kind}'
        )
    distort, _, _ = DISTORTIONS[name]
    images = np.empty_like(dataset.inputs)
    for row, (image, example) in enumerate(zip(dataset.inputs, dataset.ids, strict=True)):
        rng = np.random.default_rng(zlib.crc32(example.encode()))
        whole = image.dtype == np.uint8
        unit = image / np.float32(255) if whole else image
        distorted = np.clip(distort(unit, strength, rng), 0, 1)
        images[row] = (255 * distorted + 0.5).astype(np.uint8) if whole else distorted
    return dataclasses.replace(dataset, inputs=images, name=f'{dataset.name}+{text}')
