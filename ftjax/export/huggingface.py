"""A folder that transformers opens: safetensors, config.json, preprocessing and tokenizer."""

from __future__ import annotations

import logging
import os
import pathlib
import shutil
from collections.abc import Sequence

from ftjax.export.carried import carried, write_carried
from ftjax.export.origin import Origin
from ftjax.export.source_names import save_source
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.preprocessing import chat_template
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import families, own_format
from ftjax.pretrained.checkpoint import GENERATION
from ftjax.pytrees import Variables

_log = logging.getLogger(__name__)
TOKENIZER_FILES = (
    own_format.TOKENIZER,
    *('tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'),
    *('vocab.txt', 'vocab.json', 'merges.txt'),
    *(chat_template.FILE, GENERATION),
)
"""What lies beside a tokenizer and goes with it."""


def save_huggingface(
    folder: str | os.PathLike[str],
    network: Network,
    variables: Variables,
    preprocessing: Preprocessing | TextPreprocessing | None,
    class_names: Sequence[str] = (),
    *,
    family: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    origin: Origin | None = None,
    dtype: str | None = None,
    fields: JsonObject | None = None,
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
      origin: the checkpoint that the run began with: its config.json is carried on but for what
        the run changed, and its tensors keep names, dtypes, bytes and files where they did not
        train.
      dtype: of tensors that trained or are new; None for what the origin had, or their own.
      fields: of config.json that the network does not say; None among them drops the origin's.

    Raises:
      UserError: no family writes this network, or a leaf has no name there.
    """
    folder = pathlib.Path(folder)
    if origin is not None:
        family = origin.checkpoint.family
    if family is None or family == own_format.FORMAT:
        family = families.family_of_network(network)
    config = families.module(family).config_from_network(network, tuple(class_names))
    if class_names:
        config['id2label'] = {str(index): name for index, name in enumerate(class_names)}
        config['label2id'] = {name: index for index, name in enumerate(class_names)}
    if origin is not None:
        config = origin.config_of(network, class_names, config)
    if dtype is not None:
        config = {k: v for k, v in config.items() if k != 'torch_dtype'} | {'dtype': dtype}
    config |= {k: v for k, v in (fields or {}).items() if v is not None or k in config}
    # No names to choose by: the first map is the one whose names go with the config.json.
    names = families.key_map(family, config, ())
    if origin is None:
        save_source(folder / own_format.WEIGHTS, variables, names)
    else:
        tensors = carried(origin, network, variables, config, names, dtype)
        write_carried(folder, tensors, origin)
        _log.info('%s: %s', folder.name, tensors.said)
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
    template = getattr(preprocessing, 'chat_template', None)
    has_one = ('tokenizer_config.json', chat_template.FILE)
    if template is not None and not any((folder / name).exists() for name in has_one):
        (folder / chat_template.FILE).write_text(template, encoding='utf-8')
    if isinstance(preprocessing, TextPreprocessing) and tokenizer is not None:
        _write_tokenizer(folder, preprocessing)


def _write_tokenizer(folder: pathlib.Path, preprocessing: TextPreprocessing) -> None:
    """tokenizer.json and tokenizer_config.json where no others came along.

    Without the latter transformers takes the class of the model, which may build a tokenizer of
    its own from the vocabulary: BERT's lower-cases.
    """
    if not (folder / own_format.TOKENIZER).exists():
        text = preprocessing.tokenizer_json()
        (folder / own_format.TOKENIZER).write_text(text, encoding='utf-8', newline='')
    if (folder / 'tokenizer_config.json').exists():
        return
    opened = preprocessing.open()
    ids = {'pad': preprocessing.pad_id, 'mask': preprocessing.mask_id, 'eos': preprocessing.end_id}
    tokens = {
        f'{role}_token': opened.id_to_token(number)
        for role, number in ids.items()
        if number is not None and opened.id_to_token(number) is not None
    }
    tokens |= {name: token for name, token in preprocessing.chat_tokens if name not in tokens}
    types = ['token_type_ids'] if preprocessing.token_types else []
    own_format.write_json(
        folder / 'tokenizer_config.json',
        {
            'tokenizer_class': 'PreTrainedTokenizerFast',
            'model_max_length': preprocessing.max_length,
            'model_input_names': ['input_ids', *types, 'attention_mask'],
            **tokens,
        },
    )
