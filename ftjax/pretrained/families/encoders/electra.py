"""ELECTRA, generator and discriminator, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.models.encoders.bert import ELECTRA
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.config_fields import TASK_ONLY
from ftjax.pretrained.families.encoders.bert import (
    encoder_declared,
    encoder_fields,
    encoder_options,
    head_rules,
    key_maps,
)
from ftjax.pretrained.keymaps.hf_config import refuse
from ftjax.pretrained.keymaps.keymap import KeyMap, dense

# ElectraConfig's, where they are not BERT's.
_DEFAULTS = {'hidden_size': 256, 'num_attention_heads': 4, 'intermediate_size': 1024}
_SUMMARY = ('type', 'use_proj', 'activation', 'first_dropout', 'last_dropout', 'proj_to_labels')
FIELDS = {
    'electra': encoder_declared(
        'embedding_size', **{f'summary_{name}': TASK_ONLY for name in _SUMMARY}
    )
}
_UNUSED = (
    r'(discriminator|generator)_predictions\..*',
    r'generator_lm_head\..*',
    r'classifier\.(weight|bias)',  # of a token classifier
)


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps for names with and without 'electra.'."""
    head = head_rules(
        config,
        *dense('classifier.dense', 'head/hidden'),
        *dense('classifier.out_proj', 'head/dense'),
    )
    return key_maps('electra', config, head, _UNUSED)


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config."""
    options = encoder_options(config, **_DEFAULTS)
    size = config.get('embedding_size', 128)
    return build('electra', {**options, 'embedding_size': size, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ELECTRA)
    refuse(network, 'its ELECTRA counts all positions' if network.pad_id is not None else None)
    return {
        'model_type': 'electra',
        **encoder_fields(network, 'Electra', labels, pool='cls'),
        'embedding_size': network.embedding_size or network.width,
        'pad_token_id': 0,
    }
