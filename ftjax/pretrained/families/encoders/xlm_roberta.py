"""XLM-RoBERTa, RoBERTa in many languages, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.models.encoders.bert import XLMRoBERTa
from ftjax.models.stages import Network
from ftjax.pretrained.families.encoders import roberta

FIELDS = {'xlm-roberta': roberta.FIELDS['roberta']}
key_map = roberta.key_map


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config."""
    fields = {'model_type': 'xlm-roberta', **config}
    return roberta.network_from_config(fields, name='xlm_roberta', **overrides)


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, XLMRoBERTa)
    fields = roberta.config_from_network(network, labels)
    kind = fields['architectures'][0].replace('Roberta', 'XLMRoberta')
    return {**fields, 'model_type': 'xlm-roberta', 'architectures': [kind]}
