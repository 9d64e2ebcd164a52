"""Sizes and gaps of raw inputs as plain numbers: what is watched of them beside features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data.images.decode import opened
from ftjax.data.sources.tables.table_columns import no_number, word_of
from ftjax.errors import UserError
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.raw_inputs import Reader, TableReader
from ftjax.serving.bundle.reference import MOST_MEASURES
from ftjax.serving.bundle.text_inputs import TokenReader

IMAGES = ('width', 'height', 'brightness', 'contrast')
"""In pixels of the file; mean and deviation of what the program takes, as it is there."""
TEXTS = ('characters', 'tokens')


def measure_names(reader: Reader) -> tuple[str, ...]:
    """What is measured of each input.

    Of images width, height, brightness and contrast; of texts characters and tokens; of rows the
    number of gaps, and for each column, up to a limit, whether it is one.
    """
    if isinstance(reader, TableReader):
        columns = (*reader.preprocessing.numbers, *reader.preprocessing.categories)
        names = ['gaps', *(f'no {column.name}'[:200] for column in columns)]
        return tuple(names[:MOST_MEASURES])
    return TEXTS if isinstance(reader, TokenReader) else IMAGES


def measured(reader: Reader, raw: Any, given: InputRows) -> np.ndarray:
    """The measures of one input, float32; NaN for what is not known.

    Args:
      reader: that read it.
      raw: as a request holds it, or a path of an image; None if it is not there any more.
      given: what the reader made of it.
    """
    if isinstance(reader, TableReader):
        return _of_row(reader, raw)
    if isinstance(reader, TokenReader):
        characters = math.nan if raw is None else characters_of(raw)
        tokens = sum(int(row['attention_mask'].sum()) for row in given.rows)
        return np.array([characters, tokens], np.float32)
    pixels = np.stack([row['images'] for row in given.rows])
    width, height = _size(raw)
    # float64 sums: in float32 the mean of a large image is off.
    mean, deviation = pixels.mean(dtype=np.float64), pixels.std(dtype=np.float64)
    return np.array([width, height, mean, deviation], np.float32)


def characters_of(raw: Any) -> int:
    """Of all texts in a value, however deep."""
    if isinstance(raw, str):
        return len(raw)
    parts = raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ()
    return sum(map(characters_of, parts))


def _size(raw: Any) -> tuple[float, float]:
    if isinstance(raw, np.ndarray):
        return float(raw.shape[1]), float(raw.shape[0])
    if not isinstance(raw, (bytes, str)):
        return math.nan, math.nan
    try:
        with opened(raw, 'the image') as image:  # its header alone
            return float(image.size[0]), float(image.size[1])
    except UserError:
        return math.nan, math.nan


def _of_row(reader: TableReader, raw: Any) -> np.ndarray:
    columns = (*reader.preprocessing.numbers, *reader.preprocessing.categories)
    if not isinstance(raw, Mapping):
        return np.full(min(MOST_MEASURES, 1 + len(columns)), np.nan, np.float32)
    # As the network reads them: 'NA' is a gap of a number, and ' ' one of a category.
    gaps = [float(no_number(raw.get(column.name))) for column in reader.preprocessing.numbers]
    gaps += [float(not word_of(raw.get(column.name))) for column in reader.preprocessing.categories]
    return np.array([sum(gaps), *gaps][:MOST_MEASURES], np.float32)
