"""scikit-learn's 1,797 handwritten digits, 8x8 grey: they come with the library."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.errors import UserError, check_name

# 'digits:scattered' looks the same in every run: the seed of a run decides its splits only.
_SCATTER_SEED = 0


def read(argument: str, settings: DataSettings) -> Parts:
    """`digits`: uint8 (1797, 8, 8, 1); `digits:scattered`: the same on a larger canvas.

    Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI.
    """
    from sklearn.datasets import load_digits

    if argument:
        check_name(argument, ['scattered'], "variant of data.source 'digits':")
    if not settings.label_kind.one_class:
        raise UserError("data.source 'digits' has classes; data.task must be classification")
    digits: Any = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    if argument == 'scattered':
        from ftjax.data.synthetic.scattered import scatter_digits

        images = scatter_digits(images, seed=_SCATTER_SEED)
    data = Dataset(
        name=settings.source,
        kind='image',
        inputs=images,
        labels=digits.target,
        class_names=settings.class_names or tuple(str(d) for d in range(10)),
        task=settings.task,
        ids=[f'digit_{i:04d}' for i in range(len(images))],
    )
    return Parts(train=data)
