"""What makes inputs of the texts of a split: the class that its kind of labels names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftjax.data.dataset import Dataset
from ftjax.data.labels import LabelKind

if TYPE_CHECKING:
    from ftjax.preprocessing.texts import TextPreprocessing


def reader_of(dataset: Dataset, preprocessing: TextPreprocessing, keep: bool = True) -> Any:
    """The reader of a split, as `TextReader`; `keep` says whether tokens are kept on disk."""
    return reader_class(dataset.label_kind)(dataset, preprocessing, keep)


def reader_class(kind: LabelKind) -> Any:
    """The class of the readers of texts with labels of a kind."""
    module, _, name = kind.reader.partition(':')
    return getattr(importlib.import_module(module), name)
