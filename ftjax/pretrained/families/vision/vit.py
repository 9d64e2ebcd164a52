"""ViT under the names of transformers, timm, torchvision and AugReg's .npz files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.vit import ViT
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import TIMM, Fields
from ftjax.pretrained.families.vision.timm_config import (
    TIMM_FIELDS,
    depth_of,
    options_from_timm,
    pixels,
)
from ftjax.pretrained.families.vision.torchvision_pixels import FIELD, torchvision_pixels
from ftjax.pretrained.families.vision.vit_augreg import BLOCK, QKV, augreg_rules
from ftjax.pretrained.keymaps.hf_config import (
    architecture,
    label_fields,
    num_labels,
    refuse,
    vit_fields,
    vit_options,
)
from ftjax.pretrained.keymaps.keymap import KeyMap, PositionTable, Rule, conv, dense, norm
from ftjax.pretrained.readers import TensorSource

# timm's sizes: width, depth, heads.
SIZES = {
    'tiny': (192, 12, 3),
    'small': (384, 12, 6),
    'base': (768, 12, 12),
    'large': (1024, 24, 16),
    'huge': (1280, 32, 16),
}
NAMES = re.compile(r'vit_(tiny|small|base|large|huge)_patch(\d+)_(\d+)(\..*)?')


# What `vit_options` reads, and its descendants with it.
VIT_READS = (
    *('image_size', 'patch_size', 'num_channels', 'hidden_size', 'num_hidden_layers'),
    *('num_attention_heads', 'hidden_act', 'layer_norm_eps'),
)
_LEFT_OVER = 'of a pooler that is left over'
VIT_FIELDS = Fields(
    reads=(
        *(*VIT_READS, 'intermediate_size', 'qkv_bias', 'hidden_dropout_prob'),
        'attention_probs_dropout_prob',
    ),
    inert={
        'encoder_stride': 'of masked image modelling',
        'pooler_output_size': _LEFT_OVER,
        'pooler_act': _LEFT_OVER,
    },
)
FIELDS = {'vit': VIT_FIELDS, TIMM: TIMM_FIELDS}


def encoder(layer: str) -> tuple[Rule, ...]:
    """Rules of the blocks that transformers' ViT and DeiT share; `layer` names the list."""
    block = f'{layer}.{{block}}'
    return (
        *norm(f'{block}.layernorm_before', f'{BLOCK}/norm1'),
        *(
            rule
            for part in QKV
            for rule in dense(f'{block}.attention.attention.{part}', f'{BLOCK}/attn/{part}')
        ),
        *dense(f'{block}.attention.output.dense', f'{BLOCK}/attn/out'),
        *norm(f'{block}.layernorm_after', f'{BLOCK}/norm2'),
        *dense(f'{block}.intermediate.dense', f'{BLOCK}/mlp/fc1'),
        *dense(f'{block}.output.dense', f'{BLOCK}/mlp/fc2'),
    )


def timm_trunk() -> tuple[Rule, ...]:
    """Rules of everything but the head in timm's ViT, DeiT and the original code of DeiT."""
    block = 'blocks.{block}'
    return (
        Rule('cls_token', 'embed/cls_token'),
        Rule('pos_embed', 'embed/pos_embed'),
        *conv('patch_embed.proj', 'embed/patch_embed'),
        *norm(f'{block}.norm1', f'{BLOCK}/norm1'),
        *fused(f'{block}.attn.qkv.', f'{BLOCK}/attn'),
        *dense(f'{block}.attn.proj', f'{BLOCK}/attn/out'),
        Rule(f'{block}.ls1.gamma', f'{BLOCK}/ls1/scale'),
        *norm(f'{block}.norm2', f'{BLOCK}/norm2'),
        *dense(f'{block}.mlp.fc1', f'{BLOCK}/mlp/fc1'),
        *dense(f'{block}.mlp.fc2', f'{BLOCK}/mlp/fc2'),
        Rule(f'{block}.ls2.gamma', f'{BLOCK}/ls2/scale'),
        *norm('norm', 'norm/norm'),
    )


def fused(source: str, path: str) -> tuple[Rule, ...]:
    """Rules of query, key and value stored as one: weight (3 x out, in), bias (3 x out,)."""
    return (
        Rule(f'{source}weight', tuple(f'{path}/{part}/kernel' for part in QKV), 'dense'),
        Rule(f'{source}bias', tuple(f'{path}/{part}/bias' for part in QKV)),
    )


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of the four naming schemes, transformers' first."""
    options = _options(config)
    patches = zip(pair(options['image_size']), pair(options['patch_size']), strict=True)
    down, across = (image // patch for image, patch in patches)
    token = int(options.get('class_token', True))

    def positions(antialias):
        table = PositionTable('embed/pos_embed', token, (down, across), antialias=antialias)
        return (table,)

    base = '' if architecture(config, 'For') == 'ViTModel' else 'vit.'
    return (
        KeyMap('vit', transformers_rules(base), _UNUSED, ('vit.',), positions=positions(False)),
        KeyMap(
            'vit (timm)',
            (*timm_trunk(), *dense('head', 'head/dense')),
            positions=positions(True),
        ),
        KeyMap('vit (torchvision)', _TORCHVISION, positions=positions(False)),
        KeyMap('vit (AugReg)', augreg_rules(options), positions=positions(True)),
    )


_UNUSED = (r'pooler\.dense\..*', r'embeddings\.mask_token', r'decoder\..*')


def transformers_rules(base: str) -> tuple[Rule, ...]:
    """Rules of transformers' ViT, its classifier included."""
    return (
        Rule(f'{base}embeddings.cls_token', 'embed/cls_token'),
        Rule(f'{base}embeddings.position_embeddings', 'embed/pos_embed'),
        *conv(f'{base}embeddings.patch_embeddings.projection', 'embed/patch_embed'),
        *encoder(f'{base}encoder.layer'),
        *norm(f'{base}layernorm', 'norm/norm'),
        *dense('classifier', 'head/dense'),
    )


_LAYER = 'encoder.layers.encoder_layer_{block}'
_TORCHVISION = (
    Rule('class_token', 'embed/cls_token'),
    Rule('encoder.pos_embedding', 'embed/pos_embed'),
    *conv('conv_proj', 'embed/patch_embed'),
    *norm(f'{_LAYER}.ln_1', f'{BLOCK}/norm1'),
    *fused(f'{_LAYER}.self_attention.in_proj_', f'{BLOCK}/attn'),
    *dense(f'{_LAYER}.self_attention.out_proj', f'{BLOCK}/attn/out'),
    *norm(f'{_LAYER}.ln_2', f'{BLOCK}/norm2'),
    *dense(f'{_LAYER}.mlp.0', f'{BLOCK}/mlp/fc1'),
    *dense(f'{_LAYER}.mlp.3', f'{BLOCK}/mlp/fc2'),
    # Before torchvision 0.12 the perceptron's layers had names.
    *dense(f'{_LAYER}.mlp.linear_1', f'{BLOCK}/mlp/fc1'),
    *dense(f'{_LAYER}.mlp.linear_2', f'{BLOCK}/mlp/fc2'),
    *norm('encoder.ln', 'norm/norm'),
    *dense('heads.head', 'head/dense'),
)


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('vit', {**_options(config), **overrides})


def _options(config: Mapping[str, object]) -> dict[str, Any]:
    if 'architecture' in config:
        return _timm_options(config)
    options = {**vit_options(config), 'num_classes': num_labels(config)}
    # Not a field of transformers' ViT: `config_from_tensors` writes it.
    return {**options, 'layer_scale': config.get('layer_scale_init_value')}


def _timm_options(config: JsonObject) -> dict[str, object]:
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    width, depth, heads = SIZES[named[1]]
    base = {
        'image_size': int(named[3]),
        'patch_size': int(named[2]),
        'width': width,
        'depth': depth,
        'heads': heads,
        'mlp_dim': None,
        'epsilon': 1e-6,
    }
    return options_from_timm(
        config,
        base,
        {
            'img_size': 'image_size',
            'patch_size': 'patch_size',
            'embed_dim': 'width',
            'depth': 'depth',
            'num_heads': 'heads',
            'qkv_bias': 'qkv_bias',
            'init_values': 'layer_scale',
        },
    )


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, ViT)
    refuse(network, _no_place(network))
    head = network.num_classes > 0
    return {
        'model_type': 'vit',
        'architectures': ['ViTForImageClassification' if head else 'ViTModel'],
        **vit_fields(network),
        **label_fields(network.num_classes, labels),
    }


def _no_place(network: ViT) -> str | None:
    if network.pool != 'cls':
        return f'its ViT pools the class token, not {network.pool!r}'
    if network.stem != 'patch':
        return 'its ViT has no convolutional stem'
    if network.layer_scale is not None:
        return 'its ViT has no LayerScale'
    return None


def config_from_tensors(source: TensorSource) -> JsonObject:
    """Sizes from the shapes in a timm, torchvision or AugReg file.

    An AugReg file holds the number of heads; of the others the width tells it.
    """
    names = set(source.names)
    if 'cls' in names:
        kernel = 'Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel'
        patch_h, patch_w, channels, width = source.shape('embedding/kernel')
        heads = source.shape(kernel)[1]
        layer, mlp = 'Transformer/encoderblock_', 'MlpBlock_3/Dense_0/bias'
        positions, head = 'Transformer/posembed_input/pos_embedding', 'head/bias'
        token, first = 1, f'{layer}0/'
    else:
        torchvision = 'conv_proj.weight' in names
        patch = 'conv_proj.weight' if torchvision else 'patch_embed.proj.weight'
        width, channels, patch_h, patch_w = source.shape(patch)
        heads = heads_of(width)
        layer = 'encoder.layers.encoder_layer_' if torchvision else 'blocks.'
        old = f'{layer}0.mlp.linear_1.bias' in names
        mlp = ('mlp.linear_1.bias' if old else 'mlp.0.bias') if torchvision else 'mlp.fc1.bias'
        positions = 'encoder.pos_embedding' if torchvision else 'pos_embed'
        head = 'heads.head.bias' if torchvision else 'head.bias'
        token, first = 1, f'{layer}0.'
    from_torchvision = 'conv_proj.weight' in names
    side = round((source.shape(positions)[1] - token) ** 0.5)
    return {
        'model_type': 'vit',
        'image_size': [side * patch_h, side * patch_w],
        'patch_size': [patch_h, patch_w],
        'num_channels': channels,
        'hidden_size': width,
        'num_hidden_layers': depth_of(names, layer),
        'num_attention_heads': heads,
        'intermediate_size': source.shape(first + mlp)[0],
        'layer_norm_eps': 1e-6,
        'layer_scale_init_value': 1e-5 if 'blocks.0.ls1.gamma' in names else None,
        'num_labels': source.shape(head)[0] if head in names else 0,
        **({FIELD: True} if from_torchvision else {}),
    }


def heads_of(width: int) -> int:
    """The number of heads of a ViT or DeiT whose file does not hold it; UserError if unknown."""
    known = {size: heads for size, _, heads in SIZES.values()}
    if width in known:
        return known[width]
    # Below 1024 all of timm's heads are 64 wide; above they are not: 72 of 1152, 88 of 1408.
    if width % 64 == 0 and width < 1024:
        return width // 64
    raise UserError(
        f'no config.json, and the number of heads of a network {width} wide is not known; say it '
        f"with model={{'name': .., 'width': {width}, 'heads': ..}} and its other options"
    )


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else torchvision's, or half and half, as AugReg has it."""
    image_size = pair(_options(config)['image_size'])
    return torchvision_pixels(image_size) if FIELD in config else pixels(config, image_size)
