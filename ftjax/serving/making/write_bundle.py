"""A finished run as a bundle: the whole path, and the proof that it answers as the run does."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.config import read_config
from ftjax.data.dataset import Dataset
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.export.finished_run import finished_files
from ftjax.io.files.whole_folder import whole_folder
from ftjax.io.process.provenance import versions
from ftjax.leaves import flatten
from ftjax.pretrained.own_files import CONFIG, TOKENIZER, WEIGHTS
from ftjax.runs.assessment.evaluated_data import how_data_differ
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.calibration_file import FILE as CALIBRATION
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.serving.bundle.exported_programs import file_of
from ftjax.serving.bundle.goldens import COUNT, TOLERANCE, Goldens, write_goldens
from ftjax.serving.bundle.input_measures import measure_names, measured
from ftjax.serving.bundle.loaded_bundle import Bundle, load, to_length
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.bundle.reference import measure, write_reference
from ftjax.serving.bundle.run_facts import write_run_facts
from ftjax.serving.bundle.signature import Signature, write_signature
from ftjax.serving.making.bundle_card import bundle_card
from ftjax.serving.making.bundle_inputs import (
    batches_of,
    in_words,
    input_arrays,
    lengths_of,
    raw_of,
    rows_of,
)
from ftjax.serving.making.trace import Served, trace

CARD = 'README.md'
KEPT = (WEIGHTS, CONFIG, TOKENIZER, CALIBRATION)
"""Files of a run's model/ that go along: the bundle is a model folder too."""


def write_bundle(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    parts: Sequence[str] = (),
    command: str = '',
) -> pathlib.Path:
    """Writes a bundle of a finished run and loads it once; returns its folder.

    Args:
      workdir: the run's folder.
      output: what is made; must not exist, or be empty. On any failure nothing is there.
      parts: files with parts of the user's own, in place of those of the run.
      command: what was typed, for the model card.

    Raises:
      UserError: no finished run; its data have changed; a network that has no one row of outputs
        an example, or that cannot be exported.
    """
    output, workdir = pathlib.Path(output), pathlib.Path(workdir)
    config, plan, result = finished_files(workdir)
    trained = open_trained(os.fspath(workdir), parts)
    trained.check_head()
    split, data = reference_data(trained, workdir, config)
    with whole_folder(output) as folder:
        copy_model(trained.model, folder)
        signature = write_programs(folder, trained, data)
        write_signature(folder, signature)
        bundle = Bundle(folder, {})
        prove(folder, bundle, trained, data, split)
        write_run_facts(folder, config, result)
        card = bundle_card(trained, signature, (config, plan, result), command)
        (folder / CARD).write_text(card, encoding='utf-8')
        write_manifest(folder, versions(), network=type(trained.network).__name__)
        load(folder)  # as its users will
    return output


def reference_data(
    trained: Trained, workdir: pathlib.Path, config: Mapping[str, Any]
) -> tuple[str, Dataset]:
    """(name, split) of the run's data that was not trained on: validation, else test, else train.

    Raises:
      UserError: the split is no longer that of the run.
    """
    own = load_data(read_config(config).data)
    split = next(name for name in ('val', 'test', 'train') if len(getattr(own, name)))
    differs = how_data_differ(workdir, own, trained.class_names, split)
    if differs:
        raise UserError(f'{workdir}: {differs}; goldens and reference would be of other data')
    return split, getattr(own, split)


def copy_model(model: pathlib.Path | None, folder: pathlib.Path) -> None:
    """Copies weights, config, tokenizer and calibration of a model's folder."""
    if model is None:
        raise UserError('no model/ folder of the run: its weights are nowhere')
    for name in KEPT:
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / name)


def write_programs(folder: pathlib.Path, trained: Trained, data: Dataset) -> Signature:
    """Traces and writes the programs; what they take and give."""
    batch = next(iter(batches_of(trained, data.take([0]), 1)))
    task, (options, _) = trained.task, answer_options(trained)
    inputs, lengths = input_arrays(trained, batch['inputs']), lengths_of(trained)
    programs = programs_of(trained, inputs, lengths or (0,))
    shapes = {len(shape) for p in programs.values() for shape in (a.shape for a in p.out_avals)}
    if shapes != {2}:
        raise UserError(
            f'a network of task {trained.settings.task} gives more than one row of outputs an '
            'example, which a bundle has no answers for'
        )
    for bucket, exported in programs.items():
        (folder / file_of(bucket)).write_bytes(bytes(exported.serialize()))
    features, outputs = next(iter(programs.values())).out_avals  # by name, ascending
    names = trained.class_names or tuple(map(str, range(outputs.shape[1])))
    return Signature(
        task=trained.settings.task,
        takes=trained.network.takes,
        inputs=inputs,
        lengths=lengths,
        outputs=outputs.shape[1],
        features=features.shape[1],
        activation=task.activation,
        class_names=names if task.activation != 'none' else (),
        temperature=options.temperature,
        threshold=options.threshold,
        before_temperature=options.before_temperature,
        tolerance=TOLERANCE,
        preprocessing=in_words(trained),
    )


def programs_of(trained: Trained, inputs: Any, buckets: Sequence[int]) -> dict[int, Any]:
    """Exported programs by bucket."""
    images = trained.network.takes == 'images'
    preprocessing = trained.preprocessing if images else None
    served = Served(trained.network, preprocessing, trained.settings.tta)
    return trace(served, flatten(trained.variables), inputs, buckets)


def prove(
    folder: pathlib.Path, bundle: Bundle, trained: Trained, data: Dataset, split: str
) -> None:
    """Writes goldens and reference statistics: what the programs give on a split."""
    count = len(data)
    outputs = np.zeros((count, bundle.signature.outputs), np.float32)
    features = np.zeros((count, bundle.signature.features), np.float32)
    wanted = np.unique(np.linspace(0, count - 1, COUNT).astype(int))
    kept: dict[int, dict[str, np.ndarray]] = {}
    names, measures = measure_names(bundle.reader), []
    for at, arrays in rows_of(trained, data):
        found = bundle.run(arrays, trained.settings.eval_batch_size)
        outputs[at], features[at] = found.outputs, found.features
        for row, index in enumerate(at):
            example = {name: a[row] for name, a in arrays.items()}
            measures.append((index, measured(bundle.reader, raw_of(data, int(index)), example)))
            if index in wanted:
                kept[int(index)] = {name: a[row : row + 1] for name, a in arrays.items()}
    ids = tuple(str(name) for name in data.ids)
    found = measure(
        *(outputs, features, ids, bundle.signature, split),
        measures=np.array([row for _, row in sorted(measures, key=lambda pair: pair[0])]),
        measure_names=names,
        labels=data.labels if bundle.signature.activation == 'softmax' else None,
    )
    write_reference(folder, found)
    inputs = joined([kept[int(index)] for index in wanted], bundle.signature)
    images = bundle.signature.takes == 'images'
    raw = [None if images else raw_of(data, int(index)) for index in wanted]
    golden = bundle.run(inputs)
    write_goldens(
        folder,
        Goldens(
            inputs,
            golden.outputs,
            tuple(ids[i] for i in wanted),
            () if None in raw else tuple(raw),
        ),
    )


def joined(rows: Sequence[dict[str, np.ndarray]], signature: Signature) -> dict[str, np.ndarray]:
    """Examples of one row each as one batch, texts padded to the longest bucket among them."""
    if not signature.lengths:
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    longest = max(row['input_ids'].shape[1] for row in rows)
    return {
        name: np.concatenate(
            [to_length(row[name], longest, signature.inputs[name].pad) for row in rows]
        )
        for name in rows[0]
    }
