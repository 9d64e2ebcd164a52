"""T2 and T6: CIFAR-10, or some of its classes, with the same validation images for every seed.

A network that was pretrained on some classes has then seen no validation or test image of them,
whatever the seed of the run that starts from it. A config that imports this has the source.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources import npz_file
from ftjax.data.sources.registry import Parts
from ftjax.data.splits.splitting import VAL, hold_out_per_class
from ftjax.errors import UserError, check_name
from ftjax.pretrained.families.vision.resnet_cifar import CIFAR10
from ftjax.registry import register

FILES = '$FTJAX_DATA/cifar10/cifar10_'
VAL_PER_CLASS = 100


@register('source', 'cifar10')
def read(argument: str, settings: DataSettings) -> Parts:
    """CIFAR-10 of the data folder; `cifar10:cat+dog`: of these classes alone, in this order.

    900 training images a class, of which 100 validate; 1,000 test images a class.

    Raises:
      UserError: no such class, one class or one named twice, or no data folder.
    """
    asked = tuple(argument.split('+')) if argument else CIFAR10
    for name in asked:
        check_name(name, CIFAR10, f'class of data.source {settings.source!r}:')
    if len(asked) < 2 or len(set(asked)) < len(asked):
        raise UserError(f'data.source {settings.source!r}: expected two or more different classes')
    named = dataclasses.replace(settings, class_names=CIFAR10)
    seen, unseen = (
        only(npz_file.read(f'{FILES}{part}.npz', named).training, asked)
        for part in ('train9k', 'test10k')
    )
    train, val = hold_out_per_class(seen, VAL_PER_CLASS, 0, VAL, 'VAL_PER_CLASS')
    return Parts(train=train, val=val, test=unseen)


def only(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """The examples of some classes, whose labels are their places in `classes`."""
    places = [classes.index(name) if name in classes else -1 for name in dataset.class_names]
    labels = np.array(places)[dataset.labels]
    kept = dataset.take(np.flatnonzero(labels >= 0))
    return dataclasses.replace(kept, labels=labels[labels >= 0], class_names=classes)
