"""Arrays in an .npz file: `x` and `y`, or `x_train`, `y_train` and so on for given splits."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.labels.names import names_of
from ftjax.data.settings import DataSettings
from ftjax.data.sources.folders.image_tree import readable
from ftjax.data.sources.labels_of_texts import labels_of_texts
from ftjax.data.sources.registry import Parts
from ftjax.data.user_paths import existing_file
from ftjax.errors import UserError, did_you_mean
from ftjax.io.files.npz_archive import NpzArchive

Arrays = Mapping[str, np.ndarray]

_PARTS = ('train', 'val', 'test')


def read(argument: str, settings: DataSettings) -> Parts:
    """Images (N, H, W[, C]), uint8 or 0..1 float, or texts (N,) or (N, 2), with their labels.

    Keys: x and y, or x_train, y_train, x_val, .., x_test, ..; optional class_names (one a
    class), ids (one an example, also ids_train, ..), and names, taken for ids when there is
    one an example and for class names otherwise.

    Raises:
      UserError: for a file that is no npz, keys missing, shapes and labels that do not fit.
    """
    path = existing_file(argument, f'data.source {settings.source}')
    return parts_from_arrays(str(path), path.name, _load(path), settings)


def parts_from_arrays(where: str, short: str, arrays: Arrays, settings: DataSettings) -> Parts:
    """Data sets from arrays by name: see `read`; `where` and `short` name them in messages."""
    suffixes = {part: f'_{part}' for part in _PARTS if f'x_{part}' in arrays}
    if not suffixes:
        suffixes = {'train': ''}
    names = _class_names(arrays, suffixes, settings)
    names, labels = _labels(where, arrays, suffixes, names, settings)
    if all(arrays[f'x{suffix}'].dtype.kind in 'SU' for suffix in suffixes.values()):
        texts = {part: _texts(arrays[f'x{suffix}'], short) for part, suffix in suffixes.items()}
        labels = labels_of_texts(
            settings.label_kind,
            texts,
            labels,
            lambda part, row: f'{where} x{suffixes[part]}[{row}]',
        )
    made = {
        part: _dataset(f'{short} {part}', arrays, suffix, labels[part], names, settings)
        for part, suffix in suffixes.items()
    }
    return Parts(
        train=made.get('train'),
        val=made.get('val'),
        test=made.get('test'),
        notes=_id_notes(arrays, suffixes, labels, names, settings),
        reads=(),
        no_train=f'{where}: has x_{next(iter(suffixes), "")} but no x_train to train on',
    )


def _load(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise UserError(f'{path}: is no .npz file, or cut short; save it with numpy.savez')
    archive = NpzArchive(path)
    return {name: archive.read(name) for name in archive.headers}


def _class_names(
    arrays: Arrays, suffixes: Mapping[str, str], settings: DataSettings
) -> tuple[str, ...]:
    if settings.class_names or not settings.label_kind.named:
        return settings.class_names
    if 'class_names' in arrays:
        return names_of(arrays['class_names'])
    one_each = len(arrays.get('x', ())) if 'train' in suffixes and suffixes['train'] == '' else -1
    if 'names' in arrays and len(arrays['names']) != one_each:
        return names_of(arrays['names'])
    return ()


def _labels(
    source: str,
    arrays: Arrays,
    suffixes: Mapping[str, str],
    names: tuple[str, ...],
    settings: DataSettings,
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The class names and each part's labels: classes are those of all parts together."""
    raw, kind = {}, settings.label_kind
    for part, suffix in suffixes.items():
        for key in (f'x{suffix}', f'y{suffix}'):
            if key not in arrays:
                raise UserError(f'{source}: no array {key!r}; {did_you_mean(key, arrays)}')
        raw[part] = arrays[f'y{suffix}']
        inputs = arrays[f'x{suffix}']
        rows = kind.rows(raw[part])
        if not inputs.ndim or not rows.ndim or len(rows) != len(inputs):
            raise UserError(
                f'{source}: x{suffix} has shape {inputs.shape} and y{suffix} {raw[part].shape}; '
                'expected one label per example'
            )
    if next(iter(raw.values())).dtype.kind not in 'SU':
        found = kind.read_arrays(
            raw, lambda part: f'{source} y{suffixes[part]}', names, settings.ignore_index
        )
        if found is not None:
            return found
    flat = [(part, i) for part in raw for i in range(len(raw[part]))]
    values = [v for part in raw for v in _values(raw[part])]

    def where(row: int) -> str:
        part, i = flat[row]
        return f'{source} y{suffixes[part]}[{i}]'

    coded, names = kind.read(values, where, names, settings.label_separator)
    ends = np.cumsum([len(raw[part]) for part in raw])[:-1]
    return names, dict(zip(raw, np.split(coded, ends), strict=True))


def _id_notes(
    arrays: Arrays,
    suffixes: Mapping[str, str],
    labels: Mapping[str, np.ndarray],
    names: tuple[str, ...],
    settings: DataSettings,
) -> tuple[str, ...]:
    """What is to be said where labels are ids and no indices: few examples may be a slip."""
    part, suffix = next(iter(suffixes.items()))
    raw = arrays[f'y{suffix}']
    if not settings.label_kind.one_class or raw.dtype.kind not in 'iuf' or not raw.size:
        return ()
    if np.array_equal(raw.reshape(-1), labels[part]):
        return ()
    counts = np.bincount(np.concatenate([*labels.values()]), minlength=len(names))
    rare = int(np.argmin(counts))
    return (
        f'labels up to {int(raw.max()):,} are ids and no indices: {len(names)} distinct ones are '
        f'the classes, of which {names[rare]!r} has {counts[rare]} examples',
    )


def _values(array: np.ndarray) -> list[object]:
    return list(names_of(array)) if array.dtype.kind == 'S' else array.reshape(-1).tolist()


def _dataset(
    name: str,
    arrays: Arrays,
    suffix: str,
    labels: np.ndarray,
    names: tuple[str, ...],
    settings: DataSettings,
) -> Dataset:
    inputs = arrays[f'x{suffix}']
    text = inputs.dtype.kind in 'SU'
    ids = arrays.get(f'ids{suffix}')
    named = ids is None and not suffix and 'names' in arrays
    if named and len(arrays['names']) == len(inputs):
        ids = arrays['names']
    return Dataset(
        name=name,
        kind='text' if text else 'image',
        inputs=_texts(inputs, name) if text else as_images(inputs, name),
        labels=labels,
        class_names=names,
        task=settings.task,
        ids=() if ids is None else [readable(each) for each in names_of(ids)],
    )


def _texts(array: np.ndarray, name: str) -> list[object]:
    """Texts of an array (N,), or pairs of an array (N, 2)."""
    if array.shape[1:] not in ((), (2,)):
        raise UserError(
            f'{name}: texts have shape {array.shape}; expected (N,), or (N, 2) of pairs'
        )
    flat = names_of(array)
    return list(flat) if array.ndim == 1 else list(zip(flat[::2], flat[1::2], strict=True))


def as_images(images: np.ndarray, name: str) -> np.ndarray:
    """(N, H, W[, C]) as uint8, or float32 in 0..1; raises UserError for other values.

    >>> as_images(np.zeros((2, 8, 8), np.int64), 'x').shape
    (2, 8, 8, 1)
    """
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.dtype.kind not in 'uif':
        raise UserError(f'{name}: x is {images.dtype} {images.shape}; expected (N, H, W[, C])')
    if not all(images.shape[1:]):
        raise UserError(
            f'{name}: x has shape {images.shape}: images without pixels; expected (N, H, W[, C]) '
            'with at least one of each'
        )
    if images.dtype == np.uint8 or not images.size:
        return images.astype(np.uint8, copy=False)
    top = 1 if images.dtype.kind == 'f' else 255
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= top):  # a NaN fails both
        raise UserError(
            f'{name}: x is {images.dtype} in {low:g} .. {high:g}; expected whole numbers in '
            '0..255 or floats in 0..1, before any normalisation'
        )
    return images.astype(np.float32 if images.dtype.kind == 'f' else np.uint8)
