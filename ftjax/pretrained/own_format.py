"""Our own format: a folder with model.safetensors and config.json, complete in itself.

Tensors are named by leaf key, `params/block_00/attn/query/kernel`. config.json holds

    {"format": "ftjax", "model": name, "options": {..}, "preprocessing": {..} or null,
     "class_names": [..], "provenance": {..}, "weights_sha256": "..", "decision_threshold": 0.3}

of which the last is there where one was chosen.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.owned_files import whole_file
from ftjax.io.files.regular_files import open_regular
from ftjax.io.json.json_values import (
    Either,
    Kind,
    ListOf,
    Null,
    Number,
    Table,
    Text,
    check_table,
    optional,
)
from ftjax.leaves import flatten
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.own_files import CONFIG, FORMAT, TOKENIZER, WEIGHTS
from ftjax.pretrained.readers.safetensors_file import write_safetensors
from ftjax.pytrees import Variables

__all__ = [
    *('CONFIG', 'FORMAT', 'TOKENIZER', 'WEIGHTS'),
    *('check_description', 'check_hash', 'check_reopens', 'description'),
    *('save_description', 'save_own', 'write_json', 'write_text'),
]


def save_own(
    folder: str | os.PathLike[str],
    network: Network,
    variables: Variables,
    preprocessing: Preprocessing | TextPreprocessing | None,
    class_names: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    threshold: float | tuple[float, ...] | None = None,
) -> pathlib.Path:
    """Writes a folder that `load_pretrained(folder)` opens, bit for bit; returns the folder.

    Args:
      folder: made if need be; a checkpoint there is replaced, other files are left alone.
      network: its family and fields go to config.json.
      variables: {'params': .., 'batch_stats': ..}, in any float dtype.
      preprocessing: of images, or of texts, whose tokenizer is then saved as well; None for
        a text network without one.
      class_names: in the order of the logits; () if there are none.
      provenance: JSON-able facts on how the weights came to be.
      threshold: the probability from which the second of two classes is answered, or of each of
        several labels; None for 1/2.
      tokenizer: a tokenizer.json to copy beside the weights, where no preprocessing says it.

    Raises:
      UserError: as many class names as there are classes were expected; the disk is full.
    """
    folder = pathlib.Path(folder)
    config = description(folder, network, preprocessing, class_names, provenance)
    if threshold is not None:
        config['decision_threshold'] = threshold
    leaves = flatten(variables)
    tensors = {
        key: (np.dtype(leaf.dtype), tuple(leaf.shape), lambda leaf=leaf: np.asarray(leaf))
        for key, leaf in leaves.items()
    }
    text = None
    if isinstance(preprocessing, TextPreprocessing):
        text, tokenizer = preprocessing.tokenizer_json(), None
    config['weights_sha256'] = write_safetensors(folder / WEIGHTS, tensors, {'format': FORMAT})
    if tokenizer is not None and pathlib.Path(tokenizer) != folder / TOKENIZER:
        with whole_file(folder / TOKENIZER) as file, open(tokenizer, 'rb') as source:
            shutil.copyfileobj(source, file)
    if text is not None:
        write_text(folder / TOKENIZER, text)
    write_json(folder / CONFIG, config)
    return folder


def save_description(
    folder: str | os.PathLike[str],
    network: Network,
    preprocessing: Preprocessing | TextPreprocessing | None,
    class_names: Sequence[str] = (),
    provenance: Mapping[str, object] | None = None,
) -> pathlib.Path:
    """Writes the same folder without weights; returns it.

    As RUN/network it makes the checkpoints of a run that has not finished readable.
    """
    folder = pathlib.Path(folder)
    config = description(folder, network, preprocessing, class_names, provenance)
    text = None
    if isinstance(preprocessing, TextPreprocessing):
        text = preprocessing.tokenizer_json()
    write_json(folder / CONFIG, config)
    if text is not None:
        write_text(folder / TOKENIZER, text)
    return folder


def description(
    folder: pathlib.Path,
    network: Network,
    preprocessing: Preprocessing | TextPreprocessing | None,
    class_names: Sequence[str],
    provenance: Mapping[str, object] | None,
) -> dict[str, object]:
    """What config.json says of a network; UserError if it has not as many classes as names."""
    check_reopens(network)
    name, options = options_of(network)
    if class_names and len(class_names) != options['num_classes']:
        raise UserError(
            f'{folder}: {len(class_names)} class names for {options["num_classes"]} classes'
        )
    config: dict[str, object] = {
        'format': FORMAT,
        'model': name,
        'options': options,
        'preprocessing': preprocessing.to_json() if preprocessing else None,
        'class_names': list(class_names),
        'provenance': dict(provenance or {}),
    }
    json.dumps(config)  # a provenance that is not JSON fails before anything is written
    return config


def check_reopens(network: Network) -> None:
    """UserError for a network that no other process could build again from what is saved."""
    if network.is_local:
        raise UserError(
            'a network of from_nnx can be saved only by the name of a function that builds it: put '
            "@register('model', NAME) before a function that returns from_nnx(..), in a file of "
            'your own, and give NAME as config.init'
        )


def write_json(path: pathlib.Path, value: object) -> None:
    """Replaces a file by indented JSON in one step; UserError if it cannot be written."""
    write_text(path, json.dumps(value, indent=2) + '\n')


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file by a text in one step; UserError if it cannot be written."""
    with whole_file(path) as file:
        file.write(text.encode())


_KINDS: dict[str, Kind] = {
    'model': Text(longest=100),
    'options': Table(),
    'preprocessing': optional(Table()),
    'class_names': optional(ListOf(Text())),
    'provenance': optional(Table()),
    'weights_sha256': optional(Text(longest=64)),
    'decision_threshold': Either(Number(0, 1.001), ListOf(Number(0, 1.001), 1, 2**20), Null()),
}


def check_description(config: Mapping[str, object], path: pathlib.Path) -> None:
    """Refuses a config.json of our format whose entries are not of their kinds."""
    if not {'model', 'options'} <= set(config):
        raise UserError(f'{path}: model or options are missing')
    check_table(config, _KINDS, str(path))


def check_hash(weights: pathlib.Path, config: Mapping[str, object]) -> None:
    """Compares a weights file with the SHA-256 in its config.json; UserError if they differ.

    A flipped bit gives numbers that are wrong and finite: nothing else would notice.
    """
    expected = config.get('weights_sha256')
    if expected is None:
        return
    with open_regular(weights) as file:
        found = hashlib.file_digest(file, 'sha256').hexdigest()
    if found != expected:
        raise UserError(
            f'{weights} is not what {CONFIG} beside it was written for: its SHA-256 starts with '
            f'{found[:12]}, not {str(expected)[:12]}; it is damaged, or one of the two is older '
            f'(if you wrote it anew yourself, remove weights_sha256 from {CONFIG})'
        )
