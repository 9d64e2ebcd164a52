"""A folder that transformers opens: safetensors, config.json, preprocessing and tokenizer."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence

from ftjax.export.source_names import save_source
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import families, own_format
from ftjax.pytrees import Variables

TOKENIZER_FILES = (
    own_format.TOKENIZER,
    *('tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'),
    *('vocab.txt', 'vocab.json', 'merges.txt'),
)


def save_huggingface(
    folder: str | os.PathLike[str],
    network: Network,
    variables: Variables,
    preprocessing: Preprocessing | TextPreprocessing | None,
    class_names: Sequence[str] = (),
    *,
    family: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> pathlib.Path:
    """Writes a network in its family's own format; returns the folder.

    Args:
      folder: made if need be.
      network: of a class for which a family has a `config_from_network`.
      variables: {'params': .., 'batch_stats': ..}.
      preprocessing: of images, or of texts: its tokenizer is copied then.
      class_names: become id2label and label2id.
      family: a registered family; None for the first that writes this network's class.
        Pass `pretrained.family`, where several share a class.
      tokenizer: a tokenizer.json; the other tokenizer files beside it come along.

    Raises:
      UserError: no family writes this network, or a leaf has no name there.
    """
    folder = pathlib.Path(folder)
    if family is None or family == own_format.FORMAT:
        family = families.family_of_network(network)
    config = families.module(family).config_from_network(network, tuple(class_names))
    if class_names:
        config['id2label'] = {str(index): name for index, name in enumerate(class_names)}
        config['label2id'] = {name: index for index, name in enumerate(class_names)}
    # No names to choose by: the first map is the one whose names go with the config.json.
    save_source(folder / own_format.WEIGHTS, variables, families.key_map(family, config, ()))
    own_format.write_json(folder / own_format.CONFIG, config)
    found = families.module(family)
    more = found.processor_fields(network) if hasattr(found, 'processor_fields') else {}
    save_inputs(folder, family, preprocessing, tokenizer, more)
    return folder


def save_inputs(
    folder: pathlib.Path,
    family: str,
    preprocessing: Preprocessing | TextPreprocessing | None,
    tokenizer: str | os.PathLike[str] | None = None,
    processor_fields: JsonObject | None = None,
) -> None:
    """Writes preprocessor_config.json, or copies the tokenizer's files."""
    if isinstance(preprocessing, TextPreprocessing):
        tokenizer = tokenizer or preprocessing.tokenizer
    elif preprocessing is not None:
        processor = getattr(families.module(family), 'IMAGE_PROCESSOR', None)
        fields = preprocessing.to_huggingface(*([processor] if processor else []))
        fields |= processor_fields or {}
        own_format.write_json(folder / 'preprocessor_config.json', fields)
    if tokenizer is not None:
        beside = pathlib.Path(tokenizer).parent
        for name in TOKENIZER_FILES:
            if (beside / name).exists() and beside != folder:
                shutil.copyfile(beside / name, folder / name)
