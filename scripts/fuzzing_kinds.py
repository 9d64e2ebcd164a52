"""The kinds of files that `fuzzing` writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from fuzzing_arrays import (
    HEADER,
    INDEX,
    msgpack_inputs,
    npz_inputs,
    read_header,
    read_index,
    read_npz_data,
    read_weights,
    safetensors_inputs,
)
from fuzzing_configs import (
    PROCESSOR,
    foreign_configs,
    own_configs,
    read_config,
    read_processor,
    read_tokenizer,
    read_tokenizer_config,
    read_whole,
    tokenizers,
)
from fuzzing_inputs import Kind, edits
from fuzzing_runs import (
    init_inputs,
    manifest_inputs,
    read_ablation,
    read_init,
    read_lock,
    read_manifest,
    read_result,
    read_rows,
)

from ftjax.io.files.atomic import to_jsonable
from ftjax.tasks import evaluate


def kinds() -> list[Kind]:
    """All kinds; built when asked for, as some valid files take a network to make."""
    scores = np.array([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]])
    metrics = to_jsonable(evaluate(scores, np.array([0, 1, 2, 1]), ('a', 'b', 'c')))
    result: dict[str, Any] = {'metrics': metrics, 'frozen_unchanged': True, 'moved_frozen': []}
    result |= {'still_trainable': []}
    token = {'__type': 'AddedToken', 'content': '[PAD]', 'lstrip': False}
    tokens = {'pad_token': token, 'mask_token': '[MASK]', 'do_lower_case': True}
    tokens |= {'strip_accents': None, 'tokenize_chinese_chars': True, 'model_max_length': 512}
    row = {'text': 'some words', 'label': 'a'}
    owner = {'pid': 1, 'host': 'other', 'since': 'now', 'started': '5'}
    ablation = {'digest': 'ab', 'config': {'arms': {'head': {'freeze': 'head'}}, 'epochs': None}}

    def of(*trees):
        return lambda draw: edits(list(trees), draw)

    return [
        Kind('config.json of transformers and timm', of(*foreign_configs()), read_config, 6),
        Kind('config.json of ours', of(*own_configs()), read_config, 0.7),
        Kind('a checkpoint of ours', of(own_configs()[0]), read_whole, 0.03, slow=True),
        Kind('preprocessor_config.json', of(PROCESSOR), read_processor),
        Kind('tokenizer_config.json', of(tokens), read_tokenizer_config, 0.5),
        Kind('tokenizer.json', of(*tokenizers()), read_tokenizer, 0.05),
        Kind('model.safetensors.index.json', of(INDEX), read_index),
        Kind('safetensors header', of(HEADER), read_header, 2),
        Kind('safetensors bytes', safetensors_inputs, read_weights('x.safetensors')),
        Kind('npz as weights', npz_inputs, read_weights('x.npz'), 2),
        Kind('npz as data', npz_inputs, read_npz_data),
        Kind('msgpack', msgpack_inputs, read_weights('x.msgpack'), 2),
        Kind('manifest of a checkpoint', manifest_inputs, read_manifest),
        Kind('row of a JSONL file', of(row), read_rows),
        Kind('lock', of(owner), read_lock),
        Kind('result.json', of(result), read_result),
        Kind('ablation.json', of(ablation), read_ablation, 0.5),
        Kind('config.init', init_inputs, read_init, 0.5),
    ]
