"""Tiny vision models of transformers, default and odd; one row a case."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from parity_torch import Case

BATCH = 3
TINY = {
    'hidden_size': 24,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 40,
    'image_size': 16,
    'patch_size': 8,
}
# Not square, patches neither, another activation and epsilon, one channel.
ODD = TINY | {
    'image_size': (16, 24),
    'hidden_act': 'relu',
    'layer_norm_eps': 1e-3,
    'num_channels': 1,
    'num_hidden_layers': 1,
}
LABELS = 5


def images(config, channels='num_channels', size=None):
    """Random images of the config's size, NHWC."""
    vision = getattr(config, 'vision_config', config)
    sides = size or vision.image_size
    height, width = (sides, sides) if isinstance(sides, int) else sides
    shape = (BATCH, height, width, getattr(vision, channels))
    return lambda rng: rng.normal(size=shape).astype(np.float32)


def labels(count):
    return lambda rng: rng.integers(0, count, BATCH)


def forward(model, inputs):
    return model(pixel_values=inputs['inputs'].permute(0, 3, 1, 2))


def whole(output):
    return output[0] if isinstance(output, tuple) else output


def nhwc(output):
    return whole(output).permute(0, 2, 3, 1)


def class_token(output):
    return output[:, 0]


def logits(output):
    return output.logits


def pooled(output):
    return output.pooler_output.flatten(1)


def blocks(path: str, count: int, select=whole) -> dict[str, Any]:
    return {f'block_{index:02d}': (f'{path}.{index}', select) for index in range(count)}


def case(family, build, config, taps, *, head=LABELS, size=None, **more) -> Case:
    """A case of transformers; `head` is the size of the last axis of the output."""
    last = {'head': ('', logits)} if 'logits' not in more else {}
    return Case(
        family=family,
        source='transformers',
        build=lambda: build(config),
        inputs=images(config, size=size),
        labels=labels(head),
        taps={**taps, **last},
        forward=forward,
        logits=more.pop('logits', logits),
        **more,
    )


def vit(config, **more):
    taps = {
        'embed': ('vit.embeddings', whole),
        **blocks('vit.layers', config.num_hidden_layers),
        'norm': ('vit.layernorm', class_token),
    }
    return case('ViT', transformers.ViTForImageClassification, config, taps, **more)


def patch_mean(output):
    return output[:, 1:].mean(1)


def vit_base(config, pool=class_token, **more):
    taps = {
        'embed': ('embeddings', whole),
        **blocks('layers', config.num_hidden_layers),
        'norm': ('layernorm', pool),
    }
    return case(
        'ViT',
        transformers.ViTModel,
        config,
        taps,
        head=config.hidden_size,
        logits=lambda output: pool(output.last_hidden_state),
        missing=('pooler',),
        **more,
    )


def deit(config, teacher=True, **more):
    taps = {
        'embed': ('deit.embeddings', whole),
        **blocks('deit.layers', config.num_hidden_layers),
        'norm': ('deit.layernorm', class_token),
    }
    name = 'DeiTForImageClassification' + ('WithTeacher' if teacher else '')
    return case('DeiT', getattr(transformers, name), config, taps, **more)


def dinov2(config, **more):
    registers = getattr(config, 'num_register_tokens', 0)
    prefix = 'dinov2_with_registers' if registers else 'dinov2'
    name = 'Dinov2WithRegisters' if registers else 'Dinov2'

    def both(output):
        return torch.cat([output[:, 0], output[:, 1 + registers :].mean(1)], dim=1)

    taps = {
        'embed': (f'{prefix}.embeddings', whole),
        **blocks(f'{prefix}.encoder.layer', config.num_hidden_layers),
        'norm': (f'{prefix}.layernorm', both),
    }
    build = getattr(transformers, f'{name}ForImageClassification')
    missing = (f'{prefix}.embeddings.mask_token',)
    return case('DINOv2', build, config, taps, missing=missing, **more)


def tower(prefix, config):
    """Taps of the blocks of CLIP's and SigLIP's vision towers."""
    return blocks(f'{prefix}encoder.layers', config.num_hidden_layers)


def clip(config, **more):
    """CLIP's own feature, with the projection."""
    taps = {
        'embed': ('vision_model.pre_layrnorm', whole),
        **tower('vision_model.', config),
        'norm': ('vision_model.post_layernorm', whole),
        'pooler': ('visual_projection', whole),
    }
    return case(
        'CLIP vision',
        transformers.CLIPVisionModelWithProjection,
        config,
        taps,
        head=config.projection_dim,
        logits=lambda output: output.image_embeds,
        **more,
    )


def clip_classifier(config, **more):
    vision = config.vision_config
    taps = {
        'embed': ('vision_model.pre_layrnorm', whole),
        **tower('vision_model.', vision),
        'pool': ('vision_model', lambda output: output.last_hidden_state[:, 1:].mean(1)),
    }
    build = transformers.CLIPForImageClassification
    missing = ('vision_model.post_layernorm',)
    return case('CLIP vision', build, config, taps, missing=missing, **more)


def siglip(config, **more):
    """SigLIP's own feature, pooled by attention."""
    taps = {
        'embed': ('embeddings', whole),
        **tower('', config),
        'norm': ('post_layernorm', whole),
        'pooler': ('head', whole),
    }
    return case(
        'SigLIP vision',
        transformers.SiglipVisionModel,
        config,
        taps,
        head=config.hidden_size,
        logits=lambda output: output.pooler_output,
        **more,
    )


def siglip_classifier(config, **more):
    taps = {
        'embed': ('vision_model.embeddings', whole),
        **tower('vision_model.', config.vision_config),
        'norm': ('vision_model.post_layernorm', lambda output: output.mean(1)),
    }
    return case('SigLIP vision', transformers.SiglipForImageClassification, config, taps, **more)


def stages(path: str, depths, select) -> dict[str, Any]:
    return {
        f'stage{stage + 1}_block{block}': (path.format(stage=stage, block=block), select)
        for stage, count in enumerate(depths)
        for block in range(count)
    }


def convnext(config, **more):
    taps = {
        'stem': ('convnext.embeddings', nhwc),
        **stages('convnext.encoder.stages.{stage}.layers.{block}', config.depths, nhwc),
        'norm': ('convnext.layernorm', whole),
    }
    return case('ConvNeXt', transformers.ConvNextForImageClassification, config, taps, **more)


def resnet(config, size, **more):
    taps = {
        'stem': ('resnet.embedder', nhwc),
        **stages('resnet.encoder.stages.{stage}.layers.{block}', config.depths, nhwc),
        'pool': ('resnet.pooler', lambda output: output.flatten(1)),
    }
    build = transformers.ResNetForImageClassification
    return case('ResNet', build, config, taps, size=size, rate=0.1, **more)


def swin(config, **more):
    grid = image_grid(config)

    def image(stage):
        down, across = (-(-side // (1 << stage)) for side in grid)
        return lambda output: whole(output).reshape(BATCH, down, across, -1)

    taps = {'embed': ('swin.embeddings', image(0))}
    for stage, count in enumerate(config.depths):
        for block in range(count):
            path = f'swin.encoder.layers.{stage}.blocks.{block}'
            taps[f'stage{stage + 1}_block{block}'] = (path, image(stage))
    taps['norm'] = ('swin.layernorm', lambda output: output.mean(1))
    build = transformers.SwinForImageClassification
    return case('Swin', build, config, taps, **more)


def image_grid(config):
    sides = config.image_size
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return -(-height // config.patch_size), -(-width // config.patch_size)


def clip_config(kind, fields, **more):
    """The config of a whole CLIP or SigLIP, whose text tower no one builds."""
    return getattr(transformers, f'{kind}Config')(vision_config=fields, num_labels=LABELS, **more)


RESNET = {'embedding_size': 8, 'num_labels': LABELS}
CONVNEXT = {'hidden_sizes': [8, 12, 16], 'depths': [1, 2, 1], 'num_stages': 3}
SWIN = {'embed_dim': 8, 'depths': [2, 2], 'num_heads': [2, 4], 'patch_size': 2, 'window_size': 3}

CASES: dict[str, Case] = {
    'vit': vit(transformers.ViTConfig(**TINY, num_labels=LABELS), golden=True),
    'vit_odd': vit(
        transformers.ViTConfig(
            **ODD | {'patch_size': (8, 4), 'qkv_bias': False}, num_labels=LABELS
        ),
        golden=True,
    ),
    'vit_base': vit_base(transformers.ViTConfig(**TINY | {'hidden_act': 'gelu_new'})),
    'vit_base_mean': vit_base(
        transformers.ViTConfig(**TINY),
        pool=patch_mean,
        options={'options': {'pool': 'mean', 'class_token': True}},
        reopens=False,
    ),
    'deit': deit(transformers.DeiTConfig(**TINY, num_labels=LABELS), golden=True),
    'deit_odd': deit(transformers.DeiTConfig(**ODD, num_labels=LABELS), teacher=False),
    'dinov2': dinov2(transformers.Dinov2Config(**TINY, num_labels=LABELS), golden=True),
    'dinov2_odd': dinov2(
        transformers.Dinov2Config(
            **ODD | {'image_size': 24, 'mlp_ratio': 2},  # transformers only takes squares
            num_labels=LABELS,
        )
    ),
    'dinov2_registers': dinov2(
        transformers.Dinov2WithRegistersConfig(
            **TINY | {'use_swiglu_ffn': True, 'num_register_tokens': 3}, num_labels=LABELS
        ),
        golden=True,
    ),
    'clip': clip(transformers.CLIPVisionConfig(**TINY, projection_dim=12), golden=True),
    'clip_classifier': clip_classifier(
        clip_config('CLIP', TINY | {'hidden_act': 'gelu', 'num_channels': 1}), golden=True
    ),
    'siglip': siglip(transformers.SiglipVisionConfig(**TINY), golden=True),
    'siglip_classifier': siglip_classifier(
        clip_config('Siglip', TINY | {'hidden_act': 'quick_gelu', 'patch_size': 4})
    ),
    'convnext': convnext(
        transformers.ConvNextConfig(**CONVNEXT, image_size=32, num_labels=LABELS), golden=True
    ),
    'convnext_odd': convnext(
        transformers.ConvNextConfig(
            **CONVNEXT | {'patch_size': 2, 'layer_scale_init_value': 0.0},
            image_size=(24, 32),
            num_channels=1,
            hidden_act='silu',
            layer_norm_eps=1e-3,
            num_labels=LABELS,
        ),
    ),
    'resnet': resnet(
        transformers.ResNetConfig(
            **RESNET, hidden_sizes=[8, 12], depths=[2, 1], layer_type='basic'
        ),
        size=32,
        golden=True,
    ),
    'resnet_bottleneck': resnet(
        transformers.ResNetConfig(**RESNET, hidden_sizes=[16, 24], depths=[1, 2]),
        size=32,
        golden=True,
    ),
    'resnet_odd': resnet(
        transformers.ResNetConfig(
            **RESNET,
            hidden_sizes=[16, 24],
            depths=[1, 1],
            downsample_in_first_stage=True,
            downsample_in_bottleneck=True,
            hidden_act='gelu',
            num_channels=1,
        ),
        size=(70, 48),
    ),
    'swin': swin(
        transformers.SwinConfig(**SWIN, image_size=24, drop_path_rate=0.0, num_labels=LABELS)
    ),
    'swin_odd': swin(
        transformers.SwinConfig(
            **SWIN,
            image_size=(22, 34),
            num_channels=1,
            hidden_act='relu',
            qkv_bias=False,
            mlp_ratio=2.0,
            drop_path_rate=0.2,
            use_absolute_embeddings=True,
            num_labels=LABELS,
        ),
        golden=True,
    ),
}
