"""Inputs that a program holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ftjax.data.images.decode import SUFFIXES
from ftjax.data.images.pillow_images import of_pillow
from ftjax.data.sources.npz_file import as_images
from ftjax.data.sources.registry import IN_PYTHON
from ftjax.data.unlabelled.feature_items import feature_items, frame_rows
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.errors import UserError, shown
from ftjax.preprocessing.table_features import TablePreprocessing


def python_items(x: Any, texts: bool, table: TablePreprocessing | None = None) -> Iterator[Found]:
    """Texts, pairs of texts, images (N, H, W[, C]), pictures of Pillow's, or paths of images.

    Args:
      x: an array with the examples along its first axis, a list of single ones, or a pandas frame.
      texts: whether the network takes texts; else images.
      table: of a network that takes rows of a table: those of a frame, or mappings of columns.

    Raises:
      UserError: something else.
    """
    if isinstance(x, (str, bytes)) or not hasattr(x, '__len__'):
        raise UserError(f'the input is {shown(x)}; expected a list or an array of inputs')
    if hasattr(x, 'detach'):
        x = x.detach().cpu().numpy()
    if table is not None:
        yield from feature_items(frame_rows(x, Path(IN_PYTHON)), table)
        return
    for number, value in enumerate(x):
        yield _item(f'{number:06d}', value, texts)


def _item(name: str, value: object, texts: bool) -> Found:
    if texts:
        if isinstance(value, str):
            return Item(name, str(value))
        several = isinstance(value, (tuple, list, np.ndarray)) and len(value) > 1
        if several and all(isinstance(each, str) for each in value):
            return Item(name, tuple(map(str, value)))
        return Unreadable(name, f'is {shown(value)}; expected a text, or a pair of texts')
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        if path.suffix.lower() not in SUFFIXES:
            return Unreadable(str(value), 'is no name of an image file; the network takes images')
        return Item(str(value), str(path))
    if hasattr(value, 'detach'):
        value = value.detach().cpu().numpy()
    try:
        picture = of_pillow(value)
        array = np.asarray(value) if picture is None else picture
        return Item(name, as_images(array[None], name)[0])
    except UserError as error:
        return Unreadable(name, str(error))
