"""DINOv2, with and without registers, under the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.dinov2 import DINOv2
from ftjax.pretrained.config_fields import BACKBONE, Fields, known
from ftjax.pretrained.families.vision.vit import BLOCK, QKV, VIT_READS
from ftjax.pretrained.keymaps.hf_config import (
    label_fields,
    num_labels,
    refuse,
    vit_fields,
    vit_options,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm

IMAGE_PROCESSOR = 'BitImageProcessor'
REGISTERS = 'dinov2_with_registers'
_READS = (
    *VIT_READS,
    *('mlp_ratio', 'qkv_bias', 'hidden_dropout_prob', 'layerscale_value', 'drop_path_rate'),
    *('use_swiglu_ffn', 'attention_probs_dropout_prob'),
)
_INERT = {
    **BACKBONE,
    'apply_layernorm': 'of the backbone of a detector',
    'reshape_hidden_states': 'of the backbone of a detector',
    'use_mask_token': 'of masked image modelling',
    'intermediate_size': 'mlp_ratio is read',
}
FIELDS = {
    'dinov2': Fields(reads=_READS, inert=_INERT),
    REGISTERS: Fields(reads=(*_READS, 'num_register_tokens'), inert=_INERT),
}


def key_map(config: JsonObject) -> KeyMap:
    """The map, with the prefix that the class in the config saves."""
    options = _options(config)
    patches = zip(pair(options['image_size']), pair(options['patch_size']), strict=True)
    down, across = (image // patch for image, patch in patches)
    model = config.get('model_type', 'dinov2')
    base = f'{model}.' if num_labels(config) else ''
    # transformers smooths the positions of the variant with registers alone.
    table = PositionTable('embed/pos_embed', 1, (down, across), antialias=model == REGISTERS)
    block = f'{base}encoder.layer.{{block}}'
    rules = (
        Rule(f'{base}embeddings.cls_token', 'embed/cls_token'),
        Rule(f'{base}embeddings.register_tokens', 'embed/register_tokens'),
        Rule(f'{base}embeddings.position_embeddings', 'embed/pos_embed'),
        *conv(f'{base}embeddings.patch_embeddings.projection', 'embed/patch_embed'),
        *norm(f'{block}.norm1', f'{BLOCK}/norm1'),
        *(
            rule
            for part in QKV
            for rule in dense(f'{block}.attention.attention.{part}', f'{BLOCK}/attn/{part}')
        ),
        *dense(f'{block}.attention.output.dense', f'{BLOCK}/attn/out'),
        Rule(f'{block}.layer_scale1.lambda1', f'{BLOCK}/ls1/scale'),
        *norm(f'{block}.norm2', f'{BLOCK}/norm2'),
        *dense(f'{block}.mlp.fc1', f'{BLOCK}/mlp/fc1'),
        *dense(f'{block}.mlp.fc2', f'{BLOCK}/mlp/fc2'),
        *_gated(block),
        Rule(f'{block}.layer_scale2.lambda1', f'{BLOCK}/ls2/scale'),
        *norm(f'{base}layernorm', 'norm/norm'),
        *dense('classifier', 'head/dense'),
    )
    prefixes = ('dinov2.', f'{REGISTERS}.')
    # The mask token serves the pretraining alone.
    return KeyMap(model, rules, (r'embeddings\.mask_token',), prefixes, positions=(table,))


def _gated(block: str) -> tuple[Rule, ...]:
    """SwiGLU, whose gate and value are stored as one."""
    halves = (f'{BLOCK}/mlp/gate', f'{BLOCK}/mlp/up')
    return (
        Rule(f'{block}.mlp.weights_in.weight', tuple(f'{p}/kernel' for p in halves), 'dense'),
        Rule(f'{block}.mlp.weights_in.bias', tuple(f'{p}/bias' for p in halves)),
        *dense(f'{block}.mlp.weights_out', f'{BLOCK}/mlp/down'),
    )


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a config; a head sees the class token and the patches' mean."""
    options = {**_options(config), **overrides}
    options.setdefault('pool', 'cls_mean' if options['num_classes'] else 'cls')
    return build('dinov2', options)


def _options(config: JsonObject) -> dict[str, Any]:
    width, gated = config.get('hidden_size', 768), config.get('use_swiglu_ffn', False)
    inner = int(width * config.get('mlp_ratio', 4))
    registers = config.get('num_register_tokens', 4)
    patch_size = known(config.get('model_type', 'dinov2')).defaults['patch_size']
    return {
        'layer_scale': config.get('layerscale_value', 1.0),
        **vit_options({'layer_norm_eps': 1e-6, 'patch_size': patch_size, **config}),
        # Two thirds, rounded up to a multiple of 8: the matrices are three, not two.
        'mlp_dim': (int(inner * 2 / 3) + 7) // 8 * 8 if gated else inner,
        'gated': gated,
        'registers': registers if config.get('model_type') == REGISTERS else 0,
        'drop_path': config.get('drop_path_rate', 0.0),
        'num_classes': num_labels(config),
    }


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, DINOv2)
    refuse(network, _no_place(network))
    fields = {k: v for k, v in vit_fields(network).items() if k != 'intermediate_size'}
    name = 'Dinov2WithRegisters' if network.registers else 'Dinov2'
    extra = {'num_register_tokens': network.registers} if network.registers else {}
    return {
        'model_type': REGISTERS if network.registers else 'dinov2',
        'architectures': [
            f'{name}ForImageClassification' if network.num_classes else f'{name}Model'
        ],
        **fields,
        **extra,
        'mlp_ratio': _ratio(network),
        'use_swiglu_ffn': network.gated,
        'layerscale_value': network.layer_scale,
        'drop_path_rate': network.drop_path,
        'use_mask_token': False,
        **label_fields(network.num_classes, labels),
    }


def _ratio(network: DINOv2) -> int:
    """The mlp_ratio, a whole number in transformers, that leads to `mlp_dim`."""
    inner = network.mlp_dim or 4 * network.width
    for ratio in range(1, 65):
        wide = ratio * network.width
        if inner == ((int(wide * 2 / 3) + 7) // 8 * 8 if network.gated else wide):
            return ratio
    refuse(network, f'no mlp_ratio of its DINOv2 gives mlp_dim {inner}')
    raise AssertionError


def _no_place(network: DINOv2) -> str | None:
    if network.stem != 'patch':
        return 'its DINOv2 has no convolutional stem'
    if network.layer_scale is None:
        return 'its DINOv2 has LayerScale'
    if network.num_classes and network.pool == 'cls':
        return "its classifier on DINOv2 pools as pool 'cls_mean' does"
    return None
