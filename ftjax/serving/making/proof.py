"""What proves a bundle: goldens and reference statistics of a split of the run's data."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.labels.next_tokens import CONVERSATION, NextTokens
from ftjax.data.masks.tiles import native
from ftjax.errors import UserError
from ftjax.preprocessing.conversation import ASSISTANT, read_messages
from ftjax.preprocessing.texts import FORMS, TextPreprocessing
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.bundle.answer_forms.answer_form import AnswerForm, Told
from ftjax.serving.bundle.goldens import COUNT, Goldens, write_goldens
from ftjax.serving.bundle.image_inputs import WindowReader
from ftjax.serving.bundle.input_measures import measure_names, measured
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.reference import measure, write_reference
from ftjax.serving.making.bundle_inputs import arrays_of, batches_of

WRITTEN = 64
"""Examples that a language model goes on from, at most: each takes as long as an answer."""


def prove(
    folder: pathlib.Path, bundle: Bundle, trained: Trained, data: Dataset, split: str
) -> None:
    """Writes goldens and reference statistics: what the programs give on a split.

    Raises:
      UserError: the split holds nothing that the programs take.
    """
    form, signature = bundle.form, bundle.signature
    told: dict[int, tuple[Told, np.ndarray, np.ndarray]] = {}
    count = min(len(data), WRITTEN) if form.writes else len(data)
    wanted = set(np.linspace(0, count - 1, COUNT).astype(int).tolist())
    kept: dict[int, InputRows] = {}
    for at, read in inputs_of(trained, data, bundle):
        found = bundle.run_each(read, trained.settings.eval_batch_size)
        for index, given, (outputs, own) in zip(at.tolist(), read, found, strict=True):
            measures = measured(bundle.reader, raw_of(data, index, form), given)
            features = own.mean(axis=0) if len(own) > 1 else own[0]
            told[index] = form.told(form.answer(outputs, given, signature)), features, measures
            if index in wanted or not kept:
                kept[index] = given
    if not kept:
        raise UserError(f'{data.name}: no example that the programs take')
    order = sorted(told)
    answers = [told[index][0] for index in order]
    ids = tuple(str(data.ids[index]) for index in order)
    reference = measure(
        *(answers, np.stack([told[index][1] for index in order]), ids, signature, split),
        measures=np.stack([told[index][2] for index in order]),
        measure_names=measure_names(bundle.reader),
        labels=data.labels[order] if signature.activation == 'softmax' else None,
        groups=data.groups[order] if len(data.groups) else None,
    )
    write_reference(folder, reference)
    chosen = sorted(kept)
    inputs = bundle.reader.stacked([row for index in chosen for row in kept[index].rows])
    images = signature.takes == 'images'
    raw = [None if images else raw_of(data, index, form) for index in chosen]
    counts = tuple(len(kept[index].rows) for index in chosen)
    goldens = Goldens(
        inputs,
        bundle.run(inputs).outputs,
        tuple(str(data.ids[index]) for index in chosen),
        () if None in raw else tuple(raw),
        counts if set(counts) != {1} else (),
    )
    write_goldens(folder, goldens)


def inputs_of(
    trained: Trained, dataset: Dataset, bundle: Bundle
) -> Iterator[tuple[np.ndarray, list[InputRows]]]:
    """(positions in the data set, inputs as a bundle reads them), some at a time.

    Examples of one row are those of an evaluation's batches; others are read as a request's.
    """
    found, size, reader = trained.preprocessing, trained.settings.eval_batch_size, bundle.reader
    if bundle.form.writes:
        yield from _beginnings(dataset, bundle, size)
    elif isinstance(found, TextPreprocessing) and found.form != FORMS[0]:
        for first in range(0, len(dataset), size):
            at = np.arange(first, min(first + size, len(dataset)))
            yield at, [reader.rows(raw_of(dataset, index, bundle.form)) for index in at.tolist()]
    elif isinstance(reader, WindowReader):
        for index in range(len(dataset)):
            seen = reader.geometry
            image = native(dataset, index, seen.channels, seen.window)
            yield np.array([index]), [reader.rows(image)]
    else:
        for at, arrays in rows_of(trained, dataset):
            rows = ({name: array[row] for name, array in arrays.items()} for row in range(len(at)))
            yield at, [InputRows((row,)) for row in rows]


def _beginnings(
    dataset: Dataset, bundle: Bundle, size: int
) -> Iterator[tuple[np.ndarray, list[InputRows]]]:
    """The first examples, without those whose beginning is too long for the programs."""
    good: list[tuple[int, InputRows]] = []
    for index in range(min(len(dataset), WRITTEN)):
        try:
            given = bundle.reader.rows(raw_of(dataset, index, bundle.form))
            bundle.signature.bucket(len(given.rows[0]['input_ids']))
        except UserError:
            continue
        good.append((index, given))
    for first in range(0, len(good), size):
        at, read = zip(*good[first : first + size], strict=True)
        yield np.array(at), list(read)


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


def raw_of(dataset: Dataset, index: int, form: AnswerForm) -> Any:
    """An example as a request holds it: a text, texts, a row; of images a path or an array.

    None where it is no plain value.
    """
    if dataset.kind == 'image_file':
        return str(dataset.inputs[index])
    if dataset.kind == 'image':
        return np.asarray(dataset.inputs[index])
    if dataset.kind == 'text':
        text = dataset.inputs[index]
        if isinstance(dataset.label_kind, NextTokens) and dataset.labels[index] == CONVERSATION:
            *messages, last = read_messages(text, str(dataset.ids[index]))
            return {'messages': messages if last['role'] == ASSISTANT else [*messages, last]}
        return form.of_example(text if isinstance(text, str) else [str(part) for part in text])
    if dataset.kind != 'table':
        return None
    table = dataset.inputs
    numbers = zip(table.number_names, table.numbers[index].tolist(), strict=True)
    words = zip(table.word_names, table.words[index], strict=True)
    return {name: None if math.isnan(v) else v for name, v in numbers} | {
        name: word or None for name, word in words
    }
