"""What a bundle's program takes, and what of a run's data goes into the bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.streams.evaluation_batches import EvalBatches, eval_batches
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.bundle.signature import LENGTH, InputArray
from ftjax.serving.making.trace import IMAGES

_LARGEST = 1e38  # of float32, about


def batches_of(trained: Trained, dataset: Dataset, size: int | None = None) -> EvalBatches:
    """The batches that an evaluation of a data set runs, or others of a size."""
    reading = trained.reading(size)
    return eval_batches(dataset, reading.batch_size, reading.image_size, reading.preprocessing)


def arrays_of(inputs: Any) -> dict[str, np.ndarray]:
    """The inputs of a batch as a bundle's program takes them."""
    return dict(inputs) if isinstance(inputs, dict) else {IMAGES: inputs}


def lengths_of(trained: Trained) -> tuple[int, ...]:
    """Tokens that texts are padded to; () for other inputs."""
    found = trained.preprocessing
    if not isinstance(found, TextPreprocessing):
        return ()
    return found.with_length(trained.settings.max_length).buckets


def input_arrays(trained: Trained, inputs: Any) -> dict[str, InputArray]:
    """Dtypes, shapes, ranges and units, from the inputs of a batch."""
    made, codes = {}, trained.network.table_codes
    for name, array in arrays_of(inputs).items():
        array, shape = np.asarray(array), tuple(np.shape(array)[1:])
        low, high, unit, pad = -_LARGEST, _LARGEST, 'deviations of the training rows', 0
        if name == IMAGES:
            whole = array.dtype == np.uint8
            low, high, unit = 0, 255 if whole else 1, 'pixel' if whole else 'pixel / 255'
        elif isinstance(trained.preprocessing, TextPreprocessing):
            shape, low, high, unit = (LENGTH,), 0, 1, '1 for a token, 0 for padding'
            if name == 'input_ids':
                high, unit = trained.preprocessing.vocab_size - 1, 'token'
                pad = trained.preprocessing.pad_id
            elif name == 'token_type_ids':
                high, unit = trained.network.token_types - 1, 'text of a pair, from 0'
        elif array.dtype == np.int32:
            low, high, unit = 0, max(codes, default=1) - 1, 'level of a category, 0 unknown'
        made[name] = InputArray(
            dtype=array.dtype.name, shape=shape, low=low, high=high, unit=unit, pad=pad
        )
    return made


def in_words(trained: Trained) -> tuple[str, ...]:
    """What happens to a raw input before the network."""
    found, size = trained.preprocessing, trained.settings.image_size
    if isinstance(found, TextPreprocessing):
        return (
            'outside: tokenizer.json makes token ids; a text is cut to '
            f'{lengths_of(trained)[-1]} tokens and padded on the right with {found.pad_id} to the '
            f'shortest of {", ".join(map(str, lengths_of(trained)))} tokens that holds the batch',
            'inside: nothing',
        )
    if not isinstance(found, Preprocessing):
        return (
            'outside: gaps are filled, numbers standardised, categories coded, as config.json says',
            'inside: nothing',
        )
    height, width = size or found.image_size
    cut = 'without a crop' if found.resize == 'squash' else 'then the centre is cut out'
    return (
        f'outside: the file is decoded, turned upright, resized by Pillow ({found.interpolation}, '
        f'antialiased, rounded to whole pixels; side / {found.crop_fraction:g}), {cut}: '
        f'{height} x {width}, {found.channels} channels. jax.image rounds otherwise, so this is '
        'not in the program',
        f'inside: (pixels * {found.scale!r} - {list(found.mean)}) / {list(found.std)} per channel'
        + ('' if trained.settings.tta in ('', 'none') else f'; mean over {trained.settings.tta}'),
    )


def raw_of(dataset: Dataset, index: int) -> Any:
    """An example as a request holds it: a text, texts, a row; of images a path or an array.

    None where it is no plain value.
    """
    if dataset.kind == 'image_file':
        return str(dataset.inputs[index])
    if dataset.kind == 'image':
        return np.asarray(dataset.inputs[index])
    if dataset.kind == 'text':
        text = dataset.inputs[index]
        return text if isinstance(text, str) else [str(part) for part in text]
    if dataset.kind != 'table':
        return None
    table = dataset.inputs
    numbers = zip(table.number_names, table.numbers[index].tolist(), strict=True)
    words = zip(table.word_names, table.words[index], strict=True)
    return {name: None if math.isnan(v) else v for name, v in numbers} | {
        name: word or None for name, word in words
    }


def rows_of(
    trained: Trained, dataset: Dataset
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """(positions in the data set, inputs of the program), a batch at a time, without padding."""
    if not len(dataset):
        raise UserError(f'{dataset.name}: no examples')
    for batch in batches_of(trained, dataset):
        real = np.asarray(batch['mask']).reshape(len(batch['index']), -1).max(axis=1) > 0
        arrays = arrays_of(batch['inputs'])
        yield batch['index'][real], {name: np.asarray(a)[real] for name, a in arrays.items()}
