"""What a bundle's program takes, and what of a run's data goes into the bundle."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.masks.palette import colours
from ftjax.data.streams.evaluation_batches import EvalBatches, eval_batches
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.bundle.answer_forms.answer_form import AnswerForm
from ftjax.serving.bundle.answer_forms.mask_answers import PALETTE, SLIDING
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


def details_of(trained: Trained) -> dict[str, Any]:
    """What the form of answers needs to know of the network."""
    settings, details = trained.settings, {}
    if trained.network.is_dense:
        table = colours(trained.network.num_classes, settings.palette)
        details[PALETTE] = [f'#{bytes(each).hex()}' for each in table.tolist()]
    if settings.sliding is not None:
        details[SLIDING] = float(settings.sliding)
    return details


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


def in_words(trained: Trained, lengths: tuple[int, ...], form: AnswerForm) -> tuple[str, ...]:
    """What happens to a raw input before the network; `lengths` are those of its programs."""
    found, size = trained.preprocessing, trained.settings.image_size
    if isinstance(found, TextPreprocessing):
        longer = {'words': 'a longer text is several rows'}.get(found.form, 'a longer one is cut')
        longer = 'a longer one is refused' if form.writes else longer
        return (
            f'outside: tokenizer.json makes token ids, {lengths[-1]} at most ({longer}); they are '
            f'padded on the right with {found.pad_id} to the shortest of '
            f'{", ".join(map(str, lengths))} tokens that holds the batch',
            'inside: tokens are moved to the right end, and the keys and values of all tokens kept '
            'while others are written'
            if form.writes
            else 'inside: nothing',
        )
    if not isinstance(found, Preprocessing):
        return (
            'outside: gaps are filled, numbers standardised, categories coded, as config.json says',
            'inside: nothing',
        )
    height, width = size or found.image_size
    ratio = 'whatever its aspect ratio' if found.resize == 'squash' else 'keeping its aspect ratio'
    return (
        f'outside: the file is decoded, turned upright, resized by Pillow ({found.interpolation}, '
        f'antialiased, rounded to whole pixels; side / {found.crop_fraction:g}, {ratio}), then the '
        f'centre is cut out: {height} x {width}, {found.channels} channels. jax.image rounds '
        'otherwise, so this is not in the program',
        f'inside: (pixels * {found.scale!r} - {list(found.mean)}) / {list(found.std)} per channel'
        + ('' if trained.settings.tta in ('', 'none') else f'; mean over {trained.settings.tta}'),
    )
