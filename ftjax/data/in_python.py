"""Data that a program holds: arrays, lists, frames and indexable data sets, as splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset, Splits
from ftjax.data.images.pillow_images import of_pillow
from ftjax.data.load import split_data, test_of
from ftjax.data.other_source import NOT_OF_OTHERS
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import is_image
from ftjax.data.sources.npz_file import parts_from_arrays
from ftjax.data.sources.registry import IN_PYTHON, Parts, completed
from ftjax.data.sources.split_names import SPLIT_NAMES
from ftjax.data.sources.tables.columns import parts_from_rows
from ftjax.data.sources.tables.input_columns import TEXT_COLUMNS
from ftjax.data.sources.tables.table_row import HeldRow, Row
from ftjax.errors import UserError, check_name, shown

INPUTS = ('x', 'image', 'images', 'text', 'sentence', 'pixel_values', 'input')
LABELS = ('y', 'label', 'labels', 'target')
EXPECTED = (
    "expected a source ('folder:PATH'), (x, y), {'train': (x, y), 'test': ..}, a pandas frame, a "
    'data set that can be indexed, or Splits'
)
_FILE = Path(IN_PYTHON)


def splits_in_python(data: object, settings: DataSettings) -> Splits:
    """Splits from what a program holds; what is not given is cut off as `load_data` does.

    Args:
      data: Splits; `(x, y)` with x of images (N, H, W[, C]), texts, pairs of texts or paths of
        images, and a label each; a dict of these by split; a pandas frame with the columns of a
        CSV file; or a data set with a length whose items are (x, y) or dicts, as PyTorch's and
        grain's.
      settings: as of a config; the source is not looked at.

    Raises:
      UserError: something else, or data that cannot be used.

    >>> x = np.zeros((40, 8, 8, 1), np.uint8)
    >>> splits = splits_in_python((x, [0, 1] * 20), DataSettings())
    >>> len(splits.train), len(splits.val), len(splits.test)
    (26, 6, 8)
    """
    if isinstance(data, Splits):
        return data
    parts, settings = _read(data, settings)
    return split_data(completed(parts, settings), settings)


def test_in_python(data: object, settings: DataSettings) -> Dataset:
    """All of what a program holds, or its test split, to evaluate on; as `splits_in_python`.

    The settings are those of a run: what speaks of its examples is left out. Data without columns
    and without names of files have no groups.
    """
    parts, settings = _read(data, dataclasses.replace(settings, **NOT_OF_OTHERS))
    if any(not len(part.groups) and part.kind != 'image_file' for part in parts.given.values()):
        settings = dataclasses.replace(settings, group_column='', group_pattern='')
    return test_of(completed(parts, settings), settings)


def _read(data: object, settings: DataSettings) -> tuple[Parts, DataSettings]:
    settings = dataclasses.replace(settings, source=IN_PYTHON)
    names = getattr(data, 'classes', None)
    if not settings.class_names and isinstance(names, (list, tuple)):
        settings = dataclasses.replace(settings, class_names=tuple(map(str, names)))
    if isinstance(data, Mapping) and not {*INPUTS} & {*data}:
        given = {_split(name): _pair(part, settings) for name, part in data.items()}
        if len(given) < len(data):
            raise UserError(f'data: two parts for one split among {", ".join(map(str, data))}')
    else:
        given = {'train': _pair(data, settings)}
    return _parts(given, settings), settings


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Inputs and labels, or the rows of a frame."""

    x: Any = None
    y: Any = None
    rows: tuple[Row, ...] | None = None


def _split(name: Any) -> str:
    if not isinstance(name, str) or name.lower() not in SPLIT_NAMES:
        check_name(str(name), SPLIT_NAMES, 'split of the data')
    return SPLIT_NAMES[name.lower()]


def _pair(data: Any, settings: DataSettings) -> _Pair:
    if hasattr(data, 'columns') and hasattr(data, 'to_dict'):
        rows = data.to_dict('records')
        cells = ({str(key): _plain(value) for key, value in row.items()} for row in rows)
        return _Pair(rows=tuple(HeldRow(_FILE, line, row) for line, row in enumerate(cells)))
    if isinstance(data, Mapping):
        return _Pair(_of(data, INPUTS), _of(data, LABELS))
    if isinstance(data, tuple) and len(data) == 2:
        return _Pair(*data)
    if isinstance(data, (str, bytes)) or not (hasattr(data, '__len__') and _indexed(data)):
        raise UserError(f'data is {shown(data)}; {EXPECTED}')
    items = [data[index] for index in range(len(data))]
    if not items:
        raise UserError('data: there are no examples')
    if isinstance(items[0], Mapping):
        return _Pair([_of(item, INPUTS) for item in items], [_of(item, LABELS) for item in items])
    if not isinstance(items[0], (tuple, list)) or len(items[0]) < 2:
        raise UserError(f'an item of the data is {shown(items[0])}; expected (x, y) or a dict')
    return _Pair([item[0] for item in items], [item[1] for item in items])


def _indexed(data: object) -> bool:
    return hasattr(data, '__getitem__') and not isinstance(data, np.ndarray)


def _of(item: Mapping[str, object], names: Sequence[str]) -> object:
    for name in names:
        if name in item:
            return item[name]
    raise UserError(f'the data have {", ".join(map(str, item))}; expected one of {names}')


def _parts(given: Mapping[str, _Pair], settings: DataSettings) -> Parts:
    """As a source gives them: rows where inputs are texts or paths, else arrays."""
    framed = {split: pair.rows for split, pair in given.items() if pair.rows is not None}
    if framed:
        if len(framed) < len(given):
            raise UserError('data: frames and arrays beside each other; expected one kind')
        return _of_rows(framed, settings)
    inputs = {split: _inputs(pair.x) for split, pair in given.items()}
    for split, pair in given.items():
        count, labels = len(inputs[split]), len(pair.y) if hasattr(pair.y, '__len__') else 0
        if count != labels:
            raise UserError(
                f'data: {count} inputs and {labels} labels in {split}; expected as many'
            )
    texts = {isinstance(x, list) for x in inputs.values()}
    if len(texts) > 1:
        empty = [split for split, x in inputs.items() if not len(x)]  # of what kind, who knows
        raise UserError(
            f'data: there are no examples in {empty[0]}; leave it out'
            if empty
            else 'data: texts in one split and arrays in another'
        )
    kind = settings.label_kind
    rows = kind.several or kind.axes == 1  # of other kinds a list is no row of an array
    hot = rows and any(_is_matrix(pair.y) for pair in given.values())
    if texts == {True} and not hot:
        return _of_texts(given, inputs, settings)
    arrays = {}
    for split, pair in given.items():
        arrays[f'x_{split}'] = np.asarray(inputs[split])
        arrays[f'y_{split}'] = np.asarray([_plain(label) for label in pair.y])
    return parts_from_arrays(IN_PYTHON, IN_PYTHON, arrays, settings)


def _inputs(x: Any) -> np.ndarray | list[Any]:
    """Texts as a list, images as an array."""
    if hasattr(x, 'detach'):
        x = x.detach().cpu().numpy()
    if isinstance(x, np.ndarray) and x.dtype.kind not in 'OSU':
        return x
    items = [_plain(item) for item in x]
    if items and isinstance(items[0], (str, tuple, list)):
        return [tuple(item) if isinstance(item, list) else item for item in items]
    images = [_image(item) for item in items]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise UserError(
            f'data: images of {len(shapes)} sizes ({min(shapes)} and others); resize them to one, '
            'or give a folder or their paths'
        )
    return np.stack(images) if images else np.zeros((0, 1, 1, 1), np.uint8)


def _image(item: Any) -> np.ndarray:
    """(H, W[, C]) of an array, a picture of Pillow's, or a PyTorch tensor (C, H, W)."""
    tensor, array = hasattr(item, 'detach'), of_pillow(item)
    if array is None:
        array = item.detach().cpu().numpy() if tensor else np.asarray(item)
    if array.dtype.kind not in 'uif' or array.ndim not in (2, 3):
        raise UserError(f'data: an input is {shown(item)}; expected an image or a text')
    if tensor and array.ndim == 3 and array.shape[0] in (1, 3):
        return np.moveaxis(array, 0, -1)
    return array


def _is_matrix(labels: Any) -> bool:
    """Whether labels are rows of as many numbers each, and not lists of names or of any length."""
    try:
        found = np.asarray(labels)
    except ValueError:  # of unequal lengths
        return False
    return found.ndim == 2 and found.dtype.kind in 'biuf'


def _plain(value: Any) -> object:
    """A number or text of Python's own, of a NumPy or PyTorch scalar."""
    scalar = getattr(value, 'ndim', None) == 0 and hasattr(value, 'item')
    return value.item() if scalar else value


def _of_texts(
    given: Mapping[str, _Pair], inputs: Mapping[str, Any], settings: DataSettings
) -> Parts:
    """Texts, pairs of texts, or paths of images as rows of a table."""
    first = next(item for x in inputs.values() for item in x)
    paths = isinstance(first, str) and is_image(Path(first).name) and Path(first).is_file()
    column = 'path' if paths else TEXT_COLUMNS[0]
    changes: dict[str, Any] = {'label_column': 'label', 'text_column': '', 'path_column': ''}
    if paths:
        changes['image_root'] = '/'  # the program may name any file
    words = settings.label_kind.form == 'words'  # a list of them is one text
    if not isinstance(first, str) and not words:
        changes['text_pair_column'], changes['text_column'] = 'second', column
        several = next((x for of in inputs.values() for x in of if len(x) != 2), first)
        if not isinstance(several, str) and len(several) != 2:
            raise UserError(
                f'data: an input of {len(several)} texts, {shown(several)}; expected a text, or a '
                'pair of texts (a frame may have more columns of texts)'
            )
    rows = {}
    for split, pair in given.items():
        cells = []
        for item, label in zip(inputs[split], pair.y, strict=True):
            item = str(Path(item).absolute()) if paths else item
            alone = words or isinstance(item, str)
            both = {column: item} if alone else {column: item[0], 'second': item[1]}
            cells.append({**both, 'label': _plain(label)})
        rows[split] = tuple(HeldRow(_FILE, line, each) for line, each in enumerate(cells))
    return _of_rows(rows, dataclasses.replace(settings, **changes))


def _of_rows(rows: Mapping[str, Sequence[Row]], settings: DataSettings) -> Parts:
    """Ids of several splits say which: `test:7`."""
    files = {split: _FILE / split if len(rows) > 1 else _FILE for split in rows}
    named = {
        split: [dataclasses.replace(row, file=files[split]) for row in each]
        for split, each in rows.items()
    }
    return parts_from_rows(files, named, settings)
