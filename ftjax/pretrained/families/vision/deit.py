"""DeiT with its distillation token, under the names of transformers and timm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.deit import DeiT
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import TIMM
from ftjax.pretrained.families.vision.timm_config import (
    TIMM_FIELDS,
    depth_of,
    options_from_timm,
    pixels,
)
from ftjax.pretrained.families.vision.vit import (
    SIZES,
    VIT_FIELDS,
    encoder,
    heads_of,
    timm_trunk,
)
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

IMAGE_PROCESSOR = 'DeiTImageProcessor'
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TEACHER = 'DeiTForImageClassificationWithTeacher'
NAMES = re.compile(r'deit_(tiny|small|base)_distilled_patch(\d+)_(\d+)(\..*)?')
FIELDS = {'deit': VIT_FIELDS, TIMM: TIMM_FIELDS}
_UNUSED = (r'pooler\.dense\..*', r'embeddings\.mask_token', r'decoder\..*')


def key_map(config: Mapping[str, object]) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes, transformers' first."""
    options = _options(config)
    patches = zip(pair(options['image_size']), pair(options['patch_size']), strict=True)
    down, across = (image // patch for image, patch in patches)

    def positions(antialias):
        return (PositionTable('embed/pos_embed', 2, (down, across), antialias=antialias),)

    base = '' if architecture(config, 'For') == 'DeiTModel' else 'deit.'
    heads = (
        (*dense('cls_classifier', 'head/dense'), *dense('distillation_classifier', _DISTILLED))
        if options['distilled_head']
        else dense('classifier', 'head/dense')
    )
    transformers = (
        Rule(f'{base}embeddings.cls_token', 'embed/cls_token'),
        Rule(f'{base}embeddings.distillation_token', 'embed/dist_token'),
        Rule(f'{base}embeddings.position_embeddings', 'embed/pos_embed'),
        *conv(f'{base}embeddings.patch_embeddings.projection', 'embed/patch_embed'),
        *encoder(f'{base}encoder.layer'),
        *norm(f'{base}layernorm', 'norm/norm'),
        *heads,
    )
    timm = (
        Rule('dist_token', 'embed/dist_token'),
        *timm_trunk(),
        *dense('head', 'head/dense'),
        *dense('head_dist', _DISTILLED),
    )
    return (
        KeyMap('deit', transformers, _UNUSED, ('deit.',), positions=positions(False)),
        KeyMap('deit (timm)', timm, positions=positions(True)),
    )


_DISTILLED = 'head/distilled'


def network_from_config(config: Mapping[str, object], **overrides: object) -> Network:
    """The network of a transformers or timm config."""
    return build('deit', {**_options(config), **overrides})


def _options(config: JsonObject) -> dict[str, Any]:
    if 'architecture' not in config:
        return {
            **vit_options(config),
            'num_classes': num_labels(config),
            'distilled_head': architecture(config) in ('', TEACHER),
        }
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
        'distilled_head': True,
    }
    arguments = {
        'img_size': 'image_size',
        'patch_size': 'patch_size',
        'embed_dim': 'width',
        'depth': 'depth',
        'num_heads': 'heads',
    }
    return options_from_timm(config, base, arguments)


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    assert isinstance(network, DeiT)
    refuse(network, 'its DeiT has no convolutional stem' if network.stem != 'patch' else None)
    refuse(network, 'its DeiT has no LayerScale' if network.layer_scale is not None else None)
    head = TEACHER if network.distilled_head else 'DeiTForImageClassification'
    return {
        'model_type': 'deit',
        'architectures': [head if network.num_classes else 'DeiTModel'],
        **vit_fields(network),
        **label_fields(network.num_classes, labels),
    }


def config_from_tensors(source: TensorSource) -> JsonObject:
    """Sizes from the shapes in a timm file; the width tells the number of heads."""
    names = set(source.names)
    width, channels, patch_h, patch_w = source.shape('patch_embed.proj.weight')
    side = round((source.shape('pos_embed')[1] - 2) ** 0.5)
    return {
        'model_type': 'deit',
        'image_size': [side * patch_h, side * patch_w],
        'patch_size': [patch_h, patch_w],
        'num_channels': channels,
        'hidden_size': width,
        'num_hidden_layers': depth_of(names, 'blocks.'),
        'num_attention_heads': heads_of(width),
        'intermediate_size': source.shape('blocks.0.mlp.fc1.bias')[0],
        'layer_norm_eps': 1e-6,
        'num_labels': source.shape('head.bias')[0] if 'head.bias' in names else 0,
    }


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What timm's config says; else ImageNet's mean and standard deviation."""
    return pixels(config, pair(_options(config)['image_size']), *IMAGENET)
