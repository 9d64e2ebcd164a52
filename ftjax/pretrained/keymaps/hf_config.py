"""What the families read off a transformers config.json, and write back to it."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.models.vision.vit import ViT

# transformers' names of activations -> ours; the first of each of ours is the one written.
ACTIVATIONS = {
    'gelu': 'gelu',
    'gelu_pytorch_tanh': 'gelu_tanh',
    'gelu_new': 'gelu_tanh',
    'gelu_fast': 'gelu_tanh',
    'quick_gelu': 'quick_gelu',
    'relu': 'relu',
    'silu': 'silu',
    'swish': 'silu',
    'tanh': 'tanh',
}


TAGGER = 'ForTokenClassification'
"""What the name of a class of transformers ends in whose head answers for every token."""


def read_activation(name: str) -> str:
    """Our name of an activation; raises UserError with the nearest if there is none."""
    return ACTIVATIONS[check_name(name, ACTIVATIONS, 'activation in config.json:')]


def write_activation(name: str) -> str:
    """The inverse of `read_activation`."""
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == name)


def architecture(config: JsonObject, default: str = '') -> str:
    """The class of transformers that saved the checkpoint; `default` if it is not named."""
    return (config.get('architectures') or [default])[0]


def num_labels(config: JsonObject, architectures: str = 'ForImageClassification') -> int:
    """Classes of the head; 0 for a checkpoint saved without one.

    A config without labels means two to transformers, so only the class that saved it tells
    whether there is a head: its name must contain `architectures`.
    """
    if architectures not in architecture(config, architectures):
        return 0
    if config.get('id2label'):
        return len(config['id2label'])
    return int(config.get('num_labels', 2 if config.get('architectures') else 0))


def label_fields(count: int, labels: Sequence[str]) -> dict[str, object]:
    """The fields of config.json that name `count` classes; numbers stand for unknown names."""
    if not count:
        return {}
    if labels and len(labels) != count:
        raise UserError(f'{len(labels)} class names for a head of {count} classes')
    names = list(labels) or [f'LABEL_{index}' for index in range(count)]
    return {
        'id2label': {str(index): name for index, name in enumerate(names)},
        'label2id': {name: index for index, name in enumerate(names)},
    }


def size(value: int | Sequence[int]) -> int | tuple[int, int]:
    """A side, or (height, width): config.json has either."""
    if isinstance(value, int):
        return value
    if len(value) != 2:
        raise UserError(f'config.json: a size is a number or (height, width), not {value}')
    return int(value[0]), int(value[1])


def plain(value: int | Sequence[int]) -> int | list[int]:
    """The inverse of `size`: JSON has no tuples."""
    return value if isinstance(value, int) else list(value)


def vit_options(config: JsonObject) -> dict[str, object]:
    """The fields of a ViT that its descendants in transformers all name alike.

    Raises:
      UserError: a field without which there is no network is missing.
    """
    # The defaults are those of ViTConfig: config.json leaves out what equals them.
    return {
        'image_size': size(config.get('image_size', 224)),
        'patch_size': size(config.get('patch_size', 16)),
        'channels': config.get('num_channels', 3),
        'width': config.get('hidden_size', 768),
        'depth': config.get('num_hidden_layers', 12),
        'heads': config.get('num_attention_heads', 12),
        'mlp_dim': config.get('intermediate_size', 3072),
        'act': read_activation(config.get('hidden_act', 'gelu')),
        'qkv_bias': config.get('qkv_bias', True),
        'epsilon': config.get('layer_norm_eps', 1e-12),
        'dropout': config.get('hidden_dropout_prob', 0.0),
        'attention_dropout': config.get(
            'attention_probs_dropout_prob', config.get('attention_dropout', 0.0)
        ),
    }


def vit_fields(network: ViT) -> dict[str, object]:
    """The inverse of `vit_options`; a family takes what its config has."""
    return {
        'image_size': plain(network.image_size),
        'patch_size': plain(network.patch_size),
        'num_channels': network.channels,
        'hidden_size': network.width,
        'num_hidden_layers': network.depth,
        'num_attention_heads': network.heads,
        'intermediate_size': network.mlp_dim or 4 * network.width,
        'hidden_act': write_activation(network.act),
        'qkv_bias': network.qkv_bias,
        'layer_norm_eps': network.epsilon,
        'hidden_dropout_prob': network.dropout,
        'attention_probs_dropout_prob': network.attention_dropout,
    }


def refuse(network: Network, problem: str | None) -> None:
    """Raises UserError if `problem` keeps the network from being written for transformers."""
    if problem:
        raise UserError(f'{type(network).__name__} has no place in transformers: {problem}')
