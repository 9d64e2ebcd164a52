"""A finished run as a bundle: the whole path, and the proof that it answers as the run does."""

from __future__ import annotations

import logging
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.config import read_saved_config
from ftjax.data.dataset import Dataset
from ftjax.data.load import load_data
from ftjax.errors import UserError, check_name
from ftjax.export.finished_run import finished_files
from ftjax.io.files.whole_folder import whole_folder
from ftjax.io.process.provenance import versions
from ftjax.leaves import flatten
from ftjax.pretrained.own_files import CONFIG, TOKENIZER, WEIGHTS
from ftjax.runs.assessment.evaluated_data import how_data_differ
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.calibration_file import FILE as CALIBRATION
from ftjax.runs.prediction.trained import Trained, open_trained
from ftjax.serving.bundle.answer_forms.answer_form import AnswerForm
from ftjax.serving.bundle.answer_forms.class_answers import ClassAnswers
from ftjax.serving.bundle.answer_forms.forms import FORMS
from ftjax.serving.bundle.exported_programs import PLATFORMS, file_of
from ftjax.serving.bundle.goldens import TOLERANCE, read_goldens
from ftjax.serving.bundle.loaded_bundle import Bundle, load
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.bundle.run_facts import read_run_facts, write_run_facts
from ftjax.serving.bundle.signature import LENGTH, InputArray, Signature, write_signature
from ftjax.serving.making.bundle_card import bundle_card
from ftjax.serving.making.bundle_inputs import (
    batches_of,
    details_of,
    in_words,
    input_arrays,
    lengths_of,
)
from ftjax.serving.making.proof import prove
from ftjax.serving.making.trace import Served, trace
from ftjax.serving.making.writing_inputs import NEW_TOKENS, writing, writing_inputs

_log = logging.getLogger(__name__)
CARD = 'README.md'
KEPT = (WEIGHTS, CONFIG, TOKENIZER, CALIBRATION)
"""Files of a run's model/ that go along: the bundle is a model folder too."""


def write_bundle(
    workdir: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    parts: Sequence[str] = (),
    allow_code_change: bool = False,
    command: str = '',
    new_tokens: int = NEW_TOKENS,
) -> pathlib.Path:
    """Writes a bundle of a finished run and loads it once; returns its folder.

    Args:
      workdir: the run's folder.
      output: what is made; must not exist, or be empty. On any failure nothing is there.
      parts: files with parts of the user's own, in place of those of the run.
      allow_code_change: whether own code that answers may be another than that of the run.
      command: what was typed, for the model card.
      new_tokens: that a language model writes at most after a beginning.

    Raises:
      UserError: no finished run; its data have changed; a network that has no one row of outputs
        an example, or that cannot be exported.
    """
    output, workdir = pathlib.Path(output), pathlib.Path(workdir)
    config, plan, result = finished_files(workdir)
    trained = open_trained(os.fspath(workdir), parts, allow_code_change=allow_code_change)
    trained.check_head()
    split, data = reference_data(trained, workdir, config)
    with whole_folder(output) as folder:
        copy_model(trained.model, folder)
        signature = write_programs(folder, trained, data, new_tokens)
        write_signature(folder, signature)
        bundle = Bundle(folder, {})
        prove(folder, bundle, trained, data, split)
        write_run_facts(folder, config, result)
        # As a server, a registry and an update will.
        read_reference(folder, signature)
        read_goldens(folder)
        read_run_facts(folder)
        card = bundle_card(trained, signature, (config, plan, result), command, split)
        (folder / CARD).write_text(card, encoding='utf-8')
        facts = {'network': type(trained.network).__name__}
        if trained.code_changed:
            facts['code_changed'] = trained.code_changed
        write_manifest(folder, versions(), signature.version, **facts)
        load(folder)  # as its users will
    if split == 'train':
        _log.warning(
            'the run has no validation and no test examples: goldens and reference are of its '
            'training examples, and traffic cannot be compared with those (serve.py --monitor)'
        )
    return output


def reference_data(
    trained: Trained, workdir: pathlib.Path, config: Mapping[str, Any]
) -> tuple[str, Dataset]:
    """(name, split) of the run's data that was not trained on: validation, else test, else train.

    Raises:
      UserError: the split is no longer that of the run.
    """
    own = load_data(read_saved_config(config).data)
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


def taken_of(
    trained: Trained, data: Dataset, new_tokens: int
) -> tuple[dict[str, InputArray], tuple[int, ...], dict[str, Any]]:
    """(arrays that programs take, lengths of texts, details of the signature)."""
    if served_form(trained).writes:
        return writing_inputs(trained, new_tokens)
    batch = next(iter(batches_of(trained, data.take([0]), 1)))
    return input_arrays(trained, batch['inputs']), lengths_of(trained), details_of(trained)


def write_programs(
    folder: pathlib.Path, trained: Trained, data: Dataset, new_tokens: int
) -> Signature:
    """Traces and writes the programs; what they take and give."""
    form = served_form(trained)
    task, (options, _) = trained.task, answer_options(trained)
    inputs, lengths, details = taken_of(trained, data, new_tokens)
    programs = programs_of(trained, inputs, lengths or (0,), details)
    for bucket, exported in programs.items():
        (folder / file_of(bucket)).write_bytes(bytes(exported.serialize()))
    features, outputs = next(iter(programs.values())).out_avals[:2]  # by name, ascending
    shape = outputs.shape[1:]
    if len(shape) > 1 and lengths:
        shape = (LENGTH, *shape[1:])
    if len(shape) > 1 and isinstance(form, ClassAnswers):
        raise UserError(
            f'a network of task {trained.settings.task} gives more than one row of outputs an '
            'example, and the task does not say by `served` how it answers'
        )
    names = trained.class_names or tuple(map(str, range(shape[-1])))
    return Signature(
        task=trained.settings.task,
        takes=trained.network.takes,
        inputs=inputs,
        lengths=lengths,
        outputs=shape[-1],
        features=features.shape[1],
        activation=task.activation,
        class_names=names if task.activation != 'none' or form.named else (),
        temperature=options.temperature,
        threshold=options.threshold,
        before_temperature=options.before_temperature,
        tolerance=TOLERANCE,
        preprocessing=in_words(trained, lengths, form),
        answer=task.served,
        output_shape=shape if len(shape) > 1 else (),
        details=details,
    )


def served_form(trained: Trained) -> AnswerForm:
    """What a bundle of the task answers with; UserError where it has no answer."""
    task = trained.task
    if not task.served:
        task.check_answers()
        raise UserError(f'a task of {task.name} says no answer that a bundle could give')
    check_name(task.served, FORMS, f'served of task {task.name}')
    return FORMS[task.served]


def programs_of(
    trained: Trained,
    inputs: Any,
    buckets: Sequence[int],
    details: Mapping[str, Any],
    platforms: Sequence[str] = PLATFORMS,
) -> dict[int, Any]:
    """Exported programs by bucket; `details` as of the signature."""
    if served_form(trained).writes:
        served = writing(trained, details)
    else:
        images = trained.network.takes == 'images'
        preprocessing = trained.preprocessing if images else None
        served = Served(trained.network, preprocessing, trained.settings.tta)
    return trace(served, flatten(trained.variables), inputs, buckets, platforms)
