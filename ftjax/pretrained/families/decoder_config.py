"""What the decoders' config.json have in common: which head there is, and special tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.models.text_decoder import Decoder
from ftjax.pretrained.keymaps.hf_config import architecture, label_fields, num_labels, refuse
from ftjax.pretrained.keymaps.keymap import Rule, dense

CLASSIFIER = 'ForSequenceClassification'
_LM = re.compile(r'LMHeadModel|ForCausalLM|DoubleHeadsModel')
DECODER_READS = (
    *('vocab_size', 'tie_word_embeddings', 'is_causal'),
    *('pad_token_id', 'bos_token_id', 'eos_token_id'),
)
DECODER_INERT = {'is_decoder': 'is_causal says what a token sees'}
_TOKENS = {'pad_id': 'pad_token_id', 'bos_id': 'bos_token_id', 'eos_id': 'eos_token_id'}
# A classifier's file lacks the one, a language model's the other; a tied head needs neither.
UNUSED_HEADS = (r'lm_head\.weight', r'score\.weight')


def is_base(config: Mapping[str, object]) -> bool:
    """Whether the class that saved the checkpoint is the bare model, without any head."""
    name = architecture(config)
    return name.endswith('Model') and not _LM.search(name)


def head_rules(config: Mapping[str, object]) -> tuple[Rule, ...]:
    """Rules of both heads: the one that the class in the config has is the one written."""
    names = ['score', 'lm_head']
    if _LM.search(architecture(config)):
        names.reverse()
    return tuple(rule for name in names for rule in dense(name, 'head/dense', bias=False))


def head_options(config: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, Any]:
    """`num_classes` and `head`: the checkpoint's, or what the overrides leave of them."""
    if 'num_classes' in overrides:
        return {'num_classes': overrides['num_classes'], 'head': 'none'}
    if 'head' in overrides:
        return {'num_classes': 0}
    head = 'lm' if _LM.search(architecture(config)) else 'none'
    return {'num_classes': num_labels(config, CLASSIFIER), 'head': head}


def causal_option(config: Mapping[str, object]) -> dict[str, Any]:
    """`causal`: False where transformers 5 makes attention see later tokens, in every family.

    Raises:
      UserError: neither true nor false; with null its two ways of attention differ.
    """
    causal = config.get('is_causal', True)
    if not isinstance(causal, bool):
        raise UserError(f'config.json: is_causal must be true or false, not {causal!r}')
    return {'causal': causal}


def token_options(config: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, Any]:
    """The special tokens; `defaults` are those of transformers' class."""
    fields = {**defaults, **config}
    found = {ours: fields.get(theirs) for ours, theirs in _TOKENS.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


def decoder_fields(
    network: Decoder, labels: Sequence[str], *, prefix: str, lm: str = 'ForCausalLM'
) -> dict[str, Any]:
    """The fields of a config.json that do not depend on the family.

    Args:
      network: of which to write.
      labels: class names, () when unknown.
      prefix: of the names of transformers' classes, as 'Llama'.
      lm: what ends the name of the language model's class.
    """
    if network.num_classes:
        problem = f'its classifier pools the last token, not {network.pool!r}'
        refuse(network, problem if network.pool != 'last' else None)
    ending = CLASSIFIER if network.num_classes else lm if network.is_lm else 'Model'
    tokens = {theirs: getattr(network, ours) for ours, theirs in _TOKENS.items()}
    return {
        'architectures': [prefix + ending],
        'vocab_size': network.vocab_size,
        'tie_word_embeddings': network.tied,
        **({} if network.causal else {'is_causal': False}),
        **{k: list(v) if isinstance(v, tuple) else v for k, v in tokens.items()},
        **label_fields(network.num_classes, labels),
    }
