"""Raw inputs to arrays: image files, texts, rows of a table, read as a run reads its data."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ftjax.data.images.geometry import Geometry
from ftjax.data.images.modes import Whites
from ftjax.data.labels.tags import UNITS
from ftjax.data.sources.tables.table_row import Row
from ftjax.data.unlabelled.feature_items import feature_items, table_inputs
from ftjax.data.unlabelled.items import Unreadable
from ftjax.errors import UserError, shown
from ftjax.io.json.json_reader import read_object
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.own_files import CONFIG
from ftjax.serving.bundle.answer_forms.forms import form_of
from ftjax.serving.bundle.answer_forms.mask_answers import SLIDING
from ftjax.serving.bundle.answer_forms.written_answers import NEW_TOKENS
from ftjax.serving.bundle.goldens import LIMITS, RAW
from ftjax.serving.bundle.image_inputs import ImageReader, PixelReader, WindowReader
from ftjax.serving.bundle.input_rows import Example, InputRows
from ftjax.serving.bundle.prompt_inputs import PromptReader
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
        preprocessing = preprocessing.with_length(signature.lengths[-1])
        form = form_of(signature)
        if form.writes:
            return PromptReader(preprocessing, signature.details[NEW_TOKENS])
        units = (inputs.get('data') or {}).get('units', UNITS[0])
        return text_reader(preprocessing, units, form, _pairs(folder))
    preprocessing = Preprocessing.from_json(fields or {})
    spec = signature.inputs['images']
    height, width, channels = map(int, spec.shape)
    whites = inputs.get('whites')
    geometry = Geometry(
        height=height,
        width=width,
        channels=channels,
        grey=(inputs.get('data') or {}).get('channels') == 1,
        interpolation=preprocessing.interpolation,
        crop_fraction=preprocessing.crop_fraction,
        squash=preprocessing.resize == 'squash',
        window=preprocessing.window,
    )
    kind = ImageReader if len(signature.row_shape) == 1 else PixelReader
    overlap = signature.details.get(SLIDING)
    if overlap is not None:
        kind = functools.partial(WindowReader, overlap=overlap)
    return kind(geometry, spec.dtype, Whites(**whites) if whites else None)


def _pairs(folder: pathlib.Path) -> bool | None:
    """Whether the golden inputs, which are of the run's data, are pairs of texts.

    None where there are none yet, or of both kinds.
    """
    path = folder / RAW
    raw = read_object(path, LIMITS).get('raw') if path.is_file() else None
    kinds = {not isinstance(each, str) for each in raw} if isinstance(raw, list) else set()
    return kinds.pop() if len(kinds) == 1 else None
