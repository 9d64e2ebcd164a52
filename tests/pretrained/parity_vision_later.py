"""Tiny vision models of transformers: DINOv3, SigLIP 2, MAE, BEiT, Swin V2, ConvNeXt V2."""

from __future__ import annotations

import math

import torch
import transformers
from parity_torch import Case
from parity_vision import (
    BATCH,
    CONVNEXT,
    LABELS,
    ODD,
    SWIN,
    TINY,
    blocks,
    case,
    class_token,
    clip_config,
    image_grid,
    nhwc,
    stages,
    tower,
    whole,
)


def dinov3(config, **more):
    taps = {
        'embed': ('embeddings', whole),
        **blocks('model.layer', config.num_hidden_layers),
        'norm': ('norm', class_token),
    }
    missing = ('embeddings.mask_token',)
    if not config.num_register_tokens:
        missing += ('embeddings.register_tokens',)
    return case(
        'DINOv3',
        transformers.DINOv3ViTModel,
        config,
        taps,
        head=config.hidden_size,
        logits=lambda output: output.pooler_output,
        missing=missing,
        **more,
    )


def dinov3_convnext(config, **more):
    taps = {
        'stem': ('model.stages.0.downsample_layers.1', nhwc),
        **stages('model.stages.{stage}.layers.{block}', config.depths, nhwc),
        'norm': ('layer_norm', class_token),
    }
    return case(
        'DINOv3 ConvNeXt',
        transformers.DINOv3ConvNextModel,
        config,
        taps,
        head=config.hidden_sizes[-1],
        logits=lambda output: output.pooler_output,
        **more,
    )


def cut(inputs, patch):
    """Images as rows of patches, the form that SigLIP 2 takes: (batch, patches, numbers)."""
    images = inputs['inputs']
    batch, height, width, channels = images.shape
    x = images.reshape(batch, height // patch, patch, width // patch, patch, channels)
    rows = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, patch * patch * channels)
    shape = torch.tensor([[height // patch, width // patch]]).repeat(batch, 1)
    mask = torch.ones(rows.shape[:2], dtype=torch.int32)
    return {'pixel_values': rows, 'pixel_attention_mask': mask, 'spatial_shapes': shape}


def siglip2(build, config, vision, prefix, taps, **more):
    patch = vision.patch_size
    side = int(vision.num_patches**0.5) * patch
    made = case(
        'SigLIP 2',
        build,
        config,
        {
            'embed': (f'{prefix}embeddings', whole),
            **tower(prefix, vision),
            **taps,
        },
        size=side,
        pixels=(1, vision.num_patches, 3 * patch**2),
        **more,
    )
    return replace(made, forward=lambda model, inputs: model(**cut(inputs, patch)))


def replace(made: Case, **changes) -> Case:
    import dataclasses

    return dataclasses.replace(made, **changes)


def siglip2_pooled(config, **more):
    return siglip2(
        transformers.Siglip2VisionModel,
        config,
        config,
        '',
        {'norm': ('post_layernorm', whole), 'pooler': ('head', whole)},
        head=config.hidden_size,
        logits=lambda output: output.pooler_output,
        **more,
    )


def siglip2_classifier(config, **more):
    return siglip2(
        transformers.Siglip2ForImageClassification,
        config,
        config.vision_config,
        'vision_model.',
        {'norm': ('vision_model.post_layernorm', lambda output: output.mean(1))},
        **more,
    )


def mae(config, **more):
    """The encoder of an image of which nothing is masked, its positions trained as others are."""
    taps = {
        'embed': ('embeddings', whole),
        **blocks('layers', config.num_hidden_layers),
        'norm': ('layernorm', class_token),
    }

    def build(config):
        model = transformers.ViTMAEModel(config)
        model.embeddings.position_embeddings.requires_grad_(True)
        return model

    def forward(model, inputs):
        down, across = image_grid(config)
        noise = torch.arange(down * across).repeat(BATCH, 1).float()
        return model(pixel_values=inputs['inputs'].permute(0, 3, 1, 2), noise=noise)

    made = case(
        'ViT-MAE',
        build,
        config,
        taps,
        head=config.hidden_size,
        logits=lambda output: output.last_hidden_state[:, 0],
        **more,
    )
    return replace(made, forward=forward)


def beit(config, **more):
    last = 'pooler.layernorm' if config.use_mean_pooling else 'layernorm'
    pool = whole if config.use_mean_pooling else class_token
    taps = {
        'embed': ('beit.embeddings', whole),
        **blocks('beit.layers', config.num_hidden_layers),
        'norm': (f'beit.{last}', pool),
    }
    return case('BEiT', transformers.BeitForImageClassification, config, taps, **more)


def convnextv2(config, **more):
    taps = {
        'stem': ('convnextv2.embeddings', nhwc),
        **stages('convnextv2.encoder.stages.{stage}.layers.{block}', config.depths, nhwc),
        'norm': ('convnextv2.layernorm', whole),
    }
    build = transformers.ConvNextV2ForImageClassification
    return case('ConvNeXt V2', build, config, taps, **more)


def swinv2(config, **more):
    grid = image_grid(config)

    def image(stage):
        down, across = (-(-side // (1 << stage)) for side in grid)
        return lambda output: whole(output).reshape(BATCH, down, across, -1)

    taps = {'embed': ('swinv2.embeddings', image(0))}
    for stage, count in enumerate(config.depths):
        for block in range(count):
            path = f'swinv2.encoder.layers.{stage}.blocks.{block}'
            taps[f'stage{stage + 1}_block{block}'] = (path, image(stage))
    taps['norm'] = ('swinv2.layernorm', lambda output: output.mean(1))
    build = transformers.Swinv2ForImageClassification
    return case('Swin V2', build, config, taps, **more)


def efficientnet(config, size, **more):
    """Two stages; blocks are counted over both."""
    counts = [math.ceil(config.depth_coefficient * n) for n in config.num_block_repeats]
    taps = {'stem': ('efficientnet.embeddings', nhwc)}
    numbers = iter(range(sum(counts)))
    for stage, count in enumerate(counts, start=1):
        for block in range(count):
            path = f'efficientnet.encoder.blocks.{next(numbers)}'
            taps[f'stage{stage}_block{block}'] = (path, nhwc)
    taps['top'] = ('efficientnet.pooler', lambda output: output.flatten(1))
    build = transformers.EfficientNetForImageClassification
    return case('EfficientNet', build, config, taps, size=size, **more)


EFFICIENT = {
    'width_coefficient': 0.25,
    'depth_coefficient': 1.1,
    'num_block_repeats': [1, 1],
    'in_channels': [32, 16],
    'out_channels': [16, 32],
    'kernel_sizes': [3, 5],
    'strides': [1, 2],
    'expand_ratios': [1, 4],
    'hidden_dim': 320,
    'image_size': 32,
}
DINO = TINY | {'num_register_tokens': 3, 'rope_theta': 20.0}
SIGLIP2 = {key: value for key, value in TINY.items() if key != 'image_size'} | {'num_patches': 9}
BEIT = TINY | {'image_size': 24, 'vocab_size': 40, 'drop_path_rate': 0.0}
MAE = {
    'decoder_num_attention_heads': 2,
    'decoder_hidden_size': 8,
    'decoder_num_hidden_layers': 1,
    'decoder_intermediate_size': 8,
    'mask_ratio': 0.0,
}
CASES: dict[str, Case] = {
    'dinov3': dinov3(transformers.DINOv3ViTConfig(**DINO | {'image_size': (16, 24)}), golden=True),
    'dinov3_gated': dinov3(
        transformers.DINOv3ViTConfig(
            **DINO | {'num_register_tokens': 0, 'image_size': 24},
            use_gated_mlp=True,
            hidden_act='silu',
            key_bias=True,
            layer_norm_eps=1e-3,
        )
    ),
    'dinov3_bare': dinov3(
        transformers.DINOv3ViTConfig(
            **DINO | {'patch_size': (8, 4), 'num_channels': 1, 'drop_path_rate': 0.1},
            query_bias=False,
            value_bias=False,
            proj_bias=False,
            mlp_bias=False,
            layerscale_value=0.1,
        )
    ),
    'dinov3_convnext': dinov3_convnext(
        transformers.DINOv3ConvNextConfig(
            hidden_sizes=[8, 12, 16, 16], depths=[1, 1, 2, 1], image_size=32
        ),
        golden=True,
    ),
    'dinov3_convnext_odd': dinov3_convnext(
        transformers.DINOv3ConvNextConfig(
            hidden_sizes=[8, 12],
            depths=[2, 1],
            image_size=(24, 32),
            num_channels=1,
            hidden_act='relu',
            layer_norm_eps=1e-3,
            drop_path_rate=0.2,
        )
    ),
    'siglip2': siglip2_pooled(transformers.Siglip2VisionConfig(**SIGLIP2), golden=True),
    'siglip2_classifier': siglip2_classifier(
        clip_config('Siglip2', SIGLIP2 | {'hidden_act': 'quick_gelu', 'patch_size': 4})
    ),
    'vit_mae': mae(transformers.ViTMAEConfig(**TINY, **MAE), golden=True),
    'vit_mae_odd': mae(
        transformers.ViTMAEConfig(**ODD | {'image_size': (16, 16), 'qkv_bias': False}, **MAE)
    ),
    'beit': beit(
        transformers.BeitConfig(
            **BEIT,
            use_shared_relative_position_bias=True,
            use_relative_position_bias=True,
            num_labels=LABELS,
        ),
        golden=True,
    ),
    'beit_odd': beit(
        transformers.BeitConfig(
            **BEIT | {'num_channels': 1, 'hidden_act': 'relu', 'layer_norm_eps': 1e-3},
            use_absolute_position_embeddings=True,
            use_mean_pooling=False,
            layer_scale_init_value=0.0,
            num_labels=LABELS,
        )
    ),
    'beit_shared': beit(
        transformers.BeitConfig(
            **BEIT | {'drop_path_rate': 0.3},
            use_shared_relative_position_bias=True,
            num_labels=LABELS,
        )
    ),
    'convnextv2': convnextv2(
        transformers.ConvNextV2Config(**CONVNEXT, image_size=32, num_labels=LABELS), golden=True
    ),
    'convnextv2_odd': convnextv2(
        transformers.ConvNextV2Config(
            **CONVNEXT | {'patch_size': 2},
            image_size=(24, 32),
            num_channels=1,
            hidden_act='silu',
            layer_norm_eps=1e-3,
            num_labels=LABELS,
        )
    ),
    'efficientnet': efficientnet(
        transformers.EfficientNetConfig(
            **EFFICIENT,
            batch_norm_momentum=0.01,
            dropout_rate=0.0,
            drop_connect_rate=0.0,
            num_labels=LABELS,
        ),
        size=(32, 24),
        rate=0.1,
        golden=True,
    ),
    'efficientnet_odd': efficientnet(
        transformers.EfficientNetConfig(
            **EFFICIENT
            | {
                'strides': [2, 2],
                'expand_ratios': [2, 3],
                'depth_divisor': 4,
                'num_block_repeats': [1, 2],
            },
            depthwise_padding=[0],
            squeeze_expansion_ratio=0.5,
            hidden_act='relu',
            pooling_type='max',
            batch_norm_eps=1e-2,
            num_channels=1,
            num_labels=LABELS,
        ),
        size=(33, 31),
    ),
    'swinv2': swinv2(
        transformers.Swinv2Config(**SWIN, image_size=24, drop_path_rate=0.0, num_labels=LABELS),
        golden=True,
    ),
    'swinv2_odd': swinv2(
        transformers.Swinv2Config(
            **SWIN | {'window_size': 6},
            image_size=(22, 34),
            num_channels=1,
            hidden_act='relu',
            qkv_bias=False,
            mlp_ratio=2.0,
            pretrained_window_sizes=[4, 0],
            num_labels=LABELS,
        )
    ),
}
