"""scikit-learn's 569 breast masses, 30 measurements each: they come with the library."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.tables.table_inputs import Table
from ftjax.errors import UserError


def read(argument: str, settings: DataSettings) -> Parts:
    """A table of 30 numbers; classes `benign` and `malignant`.

    Source: Street, Wolberg & Mangasarian 1993, 10.1117/12.148698.
    """
    from sklearn.datasets import load_breast_cancer

    if not settings.label_kind.one_class and not settings.label_kind.from_inputs:
        raise UserError("data.source 'breast_cancer' has classes; data.task must have them too")
    found: Any = load_breast_cancer()
    names = tuple(str(name) for name in found.feature_names)
    named = settings.label_kind.named
    data = Dataset(
        name=settings.source,
        kind='table',
        inputs=Table(found.data, np.empty((len(found.data), 0), object), names, ()),
        labels=1 - found.target,  # the rare class second
        class_names=(settings.class_names or ('benign', 'malignant')) if named else (),
        task=settings.task,
        ids=[f'mass_{i:03d}' for i in range(len(found.data))],
    )
    return Parts(train=data)
