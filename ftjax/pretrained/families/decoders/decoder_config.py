"""What the decoders' config.json have in common: which head there is, and special tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.decoders.llama import Llama
from ftjax.models.decoders.text_decoder import Decoder
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    read_activation,
    refuse,
    write_activation,
)
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
UNUSED_HEADS = (r'lm_head\.weight', r'score\.(weight|bias)', r'(qa_outputs|classifier)\..*')


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


def head_options(
    config: Mapping[str, object], overrides: Mapping[str, object]
) -> dict[str, object]:
    """`num_classes` and `head`: the checkpoint's, or what the overrides leave of them."""
    if 'num_classes' in overrides:
        return {'num_classes': overrides['num_classes'], 'head': 'none'}
    if 'head' in overrides:
        return {'num_classes': 0}
    head = 'lm' if _LM.search(architecture(config)) else 'none'
    return {'num_classes': num_labels(config, CLASSIFIER), 'head': head}


ROTARY_READS = (
    *('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'num_key_value_heads'),
    *('intermediate_size', 'max_position_embeddings', 'rms_norm_eps', 'attention_dropout'),
)


def rotary_options(
    fields: JsonObject, overrides: Mapping[str, object], act: str = 'hidden_act'
) -> dict[str, object]:
    """The fields of a decoder of Llama's form that its relatives name alike, heads among them.

    Args:
      fields: the config with the defaults of its class.
      overrides: what the caller asks for in place of the checkpoint's.
      act: the field of the activation.
    """
    width, heads = fields['hidden_size'], fields['num_attention_heads']
    return {
        'model_type': fields['model_type'],
        'vocab_size': fields['vocab_size'],
        'width': width,
        'depth': fields['num_hidden_layers'],
        'heads': heads,
        'kv_heads': fields.get('num_key_value_heads') or heads,
        'head_dim': fields.get('head_dim') or width // heads,
        'mlp_dim': fields['intermediate_size'],
        'max_positions': fields['max_position_embeddings'],
        'act': read_activation(fields[act]),
        'epsilon': fields['rms_norm_eps'],
        'attention_dropout': fields.get('attention_dropout', 0.0),
        'tied': fields['tie_word_embeddings'],
        **causal_option(fields),
        **token_options(fields, {}),
        **head_options(fields, overrides),
    }


def rotary_fields(
    network: Llama, labels: Sequence[str], *, prefix: str, act: str = 'hidden_act', **classes: str
) -> dict[str, object]:
    """The inverse of `rotary_options`."""
    return {
        'model_type': network.model_type,
        **decoder_fields(network, labels, prefix=prefix, **classes),
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'num_key_value_heads': network.kv_heads or network.heads,
        'intermediate_size': network.mlp_width,
        'max_position_embeddings': network.max_positions,
        act: write_activation(network.act),
        'rms_norm_eps': network.epsilon,
        'attention_dropout': network.attention_dropout,
    }


def causal_option(config: Mapping[str, object]) -> dict[str, object]:
    """`causal`: False where transformers 5 makes attention see later tokens, in every family.

    Raises:
      UserError: neither true nor false; with null its two ways of attention differ.
    """
    causal = config.get('is_causal', True)
    if not isinstance(causal, bool):
        raise UserError(f'config.json: is_causal must be true or false, not {causal!r}')
    return {'causal': causal}


def token_options(
    config: Mapping[str, object], defaults: Mapping[str, object]
) -> dict[str, object]:
    """The special tokens; `defaults` are those of transformers' class."""
    fields = {**defaults, **config}
    found = {ours: fields.get(theirs) for ours, theirs in _TOKENS.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


def decoder_fields(
    network: Decoder,
    labels: Sequence[str],
    *,
    prefix: str,
    lm: str = 'ForCausalLM',
    others: str | None = None,
) -> dict[str, object]:
    """The fields of a config.json that do not depend on the family.

    Args:
      network: of which to write.
      labels: class names, () when unknown.
      prefix: of the names of transformers' classes, as 'Llama'.
      lm: what ends the name of the language model's class.
      others: the prefix of the names of the other classes, where that is another.
    """
    if network.num_classes:
        problem = f'its classifier pools the last token, not {network.pool!r}'
        refuse(network, problem if network.pool != 'last' else None)
    ending = CLASSIFIER if network.num_classes else lm if network.is_lm else 'Model'
    tokens = {theirs: getattr(network, ours) for ours, theirs in _TOKENS.items()}
    return {
        'architectures': [(prefix if network.is_lm or others is None else others) + ending],
        'vocab_size': network.vocab_size,
        'tie_word_embeddings': network.tied,
        **({} if network.causal else {'is_causal': False}),
        **{k: list(v) if isinstance(v, tuple) else v for k, v in tokens.items()},
        **label_fields(network.num_classes, labels),
    }
