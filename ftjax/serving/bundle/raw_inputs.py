"""Raw inputs to arrays: image files, texts, rows of a table, read as a run reads its data."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ftjax.data.images.decode import MAX_PIXELS, check_pixels, decode, opened, resize_array
from ftjax.data.images.geometry import Geometry
from ftjax.data.images.modes import Whites
from ftjax.data.labels.tags import UNITS
from ftjax.data.sources.table_row import Row
from ftjax.data.unlabelled.feature_items import feature_items, table_inputs
from ftjax.data.unlabelled.items import Unreadable
from ftjax.errors import UserError, shown
from ftjax.io.json.json_reader import read_object
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.own_files import CONFIG
from ftjax.serving.bundle.input_rows import Example, InputRows
from ftjax.serving.bundle.signature import Signature
from ftjax.serving.bundle.text_inputs import text_reader


class Reader(Protocol):
    """Makes arrays of one kind of raw input."""

    def rows(self, raw: Any) -> InputRows:
        """One input; UserError for what cannot be read."""
        ...

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Rows as a batch, (n, ..) each."""
        ...


class ImageReader:
    """Image files as bytes or paths, or uint8 arrays (H, W[, C]), at the network's size."""

    def __init__(
        self,
        geometry: Geometry,
        dtype: str,
        whites: Whites | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self.geometry, self.dtype, self.whites = geometry, dtype, whites
        self.max_pixels = max_pixels

    def rows(self, raw: Any) -> InputRows:
        return InputRows((self.read(raw),))

    def read(self, raw: Any) -> Example:
        """The image at the network's size; UserError for what is none."""
        if isinstance(raw, (bytes, str)):
            with opened(raw, 'the image') as image:  # its header alone
                self._check_size(image.size)
            pixels = decode(raw, self.geometry, name='the image', whites=self.whites)
        else:
            pixels = np.asarray(raw)
            if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
                raise UserError(
                    f'the image is {pixels.dtype} {shown(pixels.shape)}; expected uint8 (height, '
                    'width) or (height, width, channels)'
                )
            check_pixels(pixels.shape[1::-1], 'the image')
            self._check_size(pixels.shape[1::-1])
            pixels = resize_array(pixels if pixels.ndim == 3 else pixels[..., None], self.geometry)
        if self.dtype == 'float32':  # of a run whose data were not whole numbers
            pixels = pixels.astype(np.float32) / 255
        return {'images': pixels}

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        return {'images': np.stack([each['images'] for each in examples])}

    def _check_size(self, size: tuple[int, int]) -> None:
        if size[0] * size[1] > self.max_pixels:
            raise UserError(
                f'the image has {size[0]} x {size[1]} pixels; at most {self.max_pixels:,} are taken'
            )


class TableReader:
    """Rows of a table: {column: value}; None or a missing optional value is a gap."""

    def __init__(self, preprocessing: TablePreprocessing):
        self.preprocessing = preprocessing

    def rows(self, raw: Any) -> InputRows:
        return InputRows((self.read(raw),))

    def read(self, raw: Any) -> Example:
        """The row as the network takes it; UserError for what is none."""
        if not isinstance(raw, Mapping):
            raise UserError(f'the input is {shown(raw)}; expected an object with a value a column')
        row = Row(pathlib.Path('the input'), 1, {str(name): value for name, value in raw.items()})
        (item,) = feature_items([row], self.preprocessing)
        if isinstance(item, Unreadable):
            raise UserError(item.reason)
        table = table_inputs([item], self.preprocessing)
        made = self.preprocessing.apply(
            *(table.numbers, table.words, table.number_names, table.word_names)
        )
        return {name: array[0] for name, array in made.items()}

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        return {name: np.stack([each[name] for each in examples]) for name in examples[0]}


def reader_of(folder: pathlib.Path, signature: Signature) -> Reader:
    """The reader of a bundle's inputs, by the config.json in it."""
    config = read_object(folder / CONFIG)
    fields = config.get('preprocessing')
    inputs = (config.get('provenance') or {}).get('inputs') or {}
    if signature.takes == 'table':
        return TableReader(TablePreprocessing.from_json(fields or {}, str(folder)))
    if signature.takes == 'texts':
        preprocessing = TextPreprocessing.from_json(fields or {}, folder)
        units = (inputs.get('data') or {}).get('units', UNITS[0])
        return text_reader(preprocessing.with_length(signature.lengths[-1]), units)
    preprocessing = Preprocessing.from_json(fields or {})
    spec = signature.inputs['images']
    height, width, channels = map(int, spec.shape)
    whites = inputs.get('whites')
    geometry = Geometry(
        height=height,
        width=width,
        channels=channels,
        interpolation=preprocessing.interpolation,
        crop_fraction=preprocessing.crop_fraction,
        squash=preprocessing.resize == 'squash',
        window=preprocessing.window,
    )
    return ImageReader(geometry, spec.dtype, Whites(**whites) if whites else None)
