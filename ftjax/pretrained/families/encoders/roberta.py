"""RoBERTa and CamemBERT, which are one network, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.models.encoders.bert import RoBERTa
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import known
from ftjax.pretrained.families.encoders.bert import (
    NO_PROJECTION,
    encoder_declared,
    encoder_fields,
    encoder_options,
    head_rules,
    key_maps,
)
from ftjax.pretrained.keymaps.hf_config import refuse
from ftjax.pretrained.keymaps.keymap import KeyMap, dense

# Positions count up from the padding's id.
_DECLARED = encoder_declared('pad_token_id', embedding_size=NO_PROJECTION)
FIELDS = dict.fromkeys(('roberta', 'camembert'), _DECLARED)
_UNUSED = (r'lm_head\..*', r'classifier\.(weight|bias)')  # the last of a token classifier


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'roberta.'."""
    head = head_rules(
        config,
        *dense('classifier.dense', 'head/hidden'),
        *dense('classifier.out_proj', 'head/dense'),
    )
    return key_maps('roberta', config, head, _UNUSED)


def network_from_config(
    config: Mapping[str, object], *, name: str = 'roberta', **overrides: object
) -> Network:
    """The network of a config; `name` is that of RoBERTa or of a relative in the registry."""
    defaults = known(config.get('model_type', 'roberta')).defaults
    options = encoder_options(config, vocab_size=defaults['vocab_size'])
    pad_id = config.get('pad_token_id', 1)
    return build(name, {**options, 'pad_id': pad_id, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens, as RoBERTa whatever it came as."""
    assert isinstance(network, RoBERTa)
    refuse(network, 'its RoBERTa has no embedding_size' if network.embedding_size else None)
    refuse(network, 'its RoBERTa has a pad_id' if network.pad_id is None else None)
    return {
        'model_type': 'roberta',
        **encoder_fields(network, 'Roberta', labels, pool='cls'),
        'pad_token_id': network.pad_id,
    }
