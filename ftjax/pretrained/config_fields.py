"""What each field of a config.json is to us: read, without effect, or not to be had.

A field that changes what a network computes and that nobody reads would make every number
wrong in silence. So each family declares, for each of its model types, the fields it reads and
those that change nothing, and why (`FIELDS`, a `Fields` each). Any other field of the class in
transformers must have its default, else the checkpoint is refused (`config_check`). The classes
are written down in config_fields.json, by scripts/parity/make_config_fields.py.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

FILE = pathlib.Path(__file__).with_suffix('.json')
TIMM = 'timm'
"""Stands for the model type in a config.json of timm, which has an architecture instead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of one model type, by what they are to us; what is in none has its default."""

    reads: tuple[str, ...]
    """They decide the network, or it is an error."""
    inert: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Field -> why it changes nothing."""
    noise: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Field of a noise in training -> what is done here; a value other than 0 is reported."""
    stand_ins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Field of a noise in training -> the field used in its place; a difference is reported."""
    complements: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Field of which a value above .5 is read as 1 - value -> why; that is reported."""
    nested: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Field that holds a whole configuration -> its model type."""


def complement(share: float) -> float:
    """A share as a field of `complements` is read.

    >>> complement(0.99), complement(0.1)
    (0.01, 0.1)
    """
    return round(1 - share, 12) if share > 0.5 else share


KERNEL = 'how attention is computed, not what'
TASK_ONLY = 'of a head for another task'
GENERATION = 'of text generation'
BOOKKEEPING = 'bookkeeping'
OUTPUTS = 'which outputs are returned'
INITIAL = 'of random initial weights'
# Read wherever a family does not say otherwise.
READ = ('model_type', 'architectures', 'id2label', 'num_labels')
# Without effect wherever a family does not say otherwise: version 4's fields are among them.
INERT = {
    'transformers_version': BOOKKEEPING,
    'name_or_path': BOOKKEEPING,
    '_name_or_path': BOOKKEEPING,
    '_commit_hash': BOOKKEEPING,
    'finetuning_task': BOOKKEEPING,
    'task_specific_params': BOOKKEEPING,
    'tokenizer_class': BOOKKEEPING,
    'language': BOOKKEEPING,
    'label2id': 'id2label is read',
    'problem_type': 'the task is told by the config of the run',
    'dtype': 'of the file; each tensor has its own',
    'torch_dtype': 'of the file; each tensor has its own',
    'output_attentions': OUTPUTS,
    'output_hidden_states': OUTPUTS,
    'output_past': OUTPUTS,
    'return_dict': OUTPUTS,
    'use_return_dict': OUTPUTS,
    'use_cache': GENERATION,
    'prefix': GENERATION,
    'bos_token_id': GENERATION,
    'eos_token_id': GENERATION,
    'sep_token_id': GENERATION,
    'decoder_start_token_id': GENERATION,
    'pad_token_id': 'the attention mask tells what is padding',
    'initializer_range': INITIAL,
    'initializer_factor': INITIAL,
    'chunk_size_feed_forward': 'memory, not results',
    'gradient_checkpointing': 'memory, not results',
    'attn_implementation': KERNEL,
    '_attn_implementation': KERNEL,
    '_attn_implementation_autoset': KERNEL,
    '_flash_attn_2_enabled': KERNEL,
    'use_flash_attn': KERNEL,
    'torchscript': 'how the model is run, not what it computes',
    'use_bfloat16': 'how the model is run, not what it computes',
    'tf_legacy_loss': 'of the loss in TensorFlow',
    'keys_to_ignore_at_inference': OUTPUTS,
    'tie_weights_': 'the file has the tied tensor once',
}
# Fields that no class lists and that the shared code of transformers, version 4 or 5, reads for
# every model: field -> the value that changes nothing.
EVERYWHERE: dict[str, object] = {
    'is_causal': False,
    'is_decoder': False,
    'is_encoder_decoder': False,
    'add_cross_attention': False,
    'cross_attention_hidden_size': None,
    'tie_encoder_decoder': False,
    'position_embedding_type': 'absolute',
    'pruned_heads': {},
    'per_layer_config': None,
    'quantization_config': None,
    'quantization': None,
    'compression_config': None,
}
# The files of vision models name these for use as the trunk of a detector.
_DETECTOR = ('out_features', 'out_indices', '_out_features', '_out_indices', 'stage_names')
BACKBONE = dict.fromkeys(_DETECTOR, 'of the backbone of a detector')


@dataclasses.dataclass(frozen=True)
class Known:
    """A configuration class of transformers."""

    defaults: Mapping[str, Any]
    """Every field -> its default."""
    aliases: Mapping[str, str]
    """Another name that the class takes -> the field."""
    code: frozenset[str]
    """The fields that the modelling code reads, shared code included."""
    prefix: str
    """What the names of its model classes begin with."""


@functools.cache
def table() -> dict[str, Any]:
    """All of config_fields.json."""
    return json.loads(FILE.read_text(encoding='utf-8'))


@functools.cache
def known(model_type: str) -> Known:
    """The class of a model type; of timm, which has none, the base class's fields."""
    found = table()
    entry = found['classes'].get(model_type, {'defaults': {}, 'aliases': {}, 'code': []})
    name = entry.get('class', '')
    return Known(
        {**found['base'], **entry['defaults']},
        entry['aliases'],
        frozenset(entry['code']) | frozenset(found['shared']),
        name.removesuffix('Config').removesuffix('Vision'),
    )
