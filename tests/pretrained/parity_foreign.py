"""Tiny models under the names of timm, torchvision and AugReg, written here from their papers.

Neither library is installed: the modules below only share the names and layouts of the files
that those libraries save.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import torch
from parity_torch import Case
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

BATCH, LABELS = 3, 5


class Attention(nn.Module):
    """timm's: query, key and value in one matrix."""

    def __init__(self, width, heads):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        batch, time, width = x.shape
        qkv = self.qkv(x).reshape(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(batch, time, width))


class Perceptron(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Gamma(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.gamma


class TimmBlock(nn.Module):
    def __init__(self, width, heads, scaled):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn, self.mlp = Attention(width, heads), Perceptron(width, 4 * width)
        self.ls1, self.ls2 = (Gamma(width) if scaled else nn.Identity() for _ in range(2))

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Patches(nn.Module):
    def __init__(self, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class TimmViT(nn.Module):
    """timm's ViT, or with `distilled` its DeiT."""

    def __init__(self, size=16, patch=8, width=24, heads=3, depth=2, scaled=False, distilled=False):
        super().__init__()
        tokens = 2 if distilled else 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if distilled:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + (size // patch) ** 2, width))
        self.patch_embed = Patches(width, patch)
        self.embedded = nn.Identity()  # a place to look at
        self.blocks = nn.Sequential(*(TimmBlock(width, heads, scaled) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, LABELS)
        if distilled:
            self.head_dist = nn.Linear(width, LABELS)
        self.distilled = distilled

    def forward(self, images):
        x = self.patch_embed(images)
        tokens = [self.cls_token] + ([self.dist_token] if self.distilled else [])
        x = torch.cat([*(t.expand(len(x), -1, -1) for t in tokens), x], 1) + self.pos_embed
        x = self.norm(self.blocks(self.embedded(x)))
        if self.distilled:
            return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2
        return self.head(x[:, 0])


class TorchvisionViT(nn.Module):
    """torchvision's ViT; one block, one head of 64."""

    def __init__(self, width=64, hidden=48):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, 4, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.encoder = TorchvisionEncoder(width, hidden)
        self.heads = nn.ModuleDict({'head': nn.Linear(width, LABELS)})

    def forward(self, images):
        x = self.conv_proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        return self.heads['head'](self.encoder(x)[:, 0])


class TorchvisionEncoder(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, 5, width))
        self.embedded = nn.Identity()
        self.layers = nn.ModuleDict({'encoder_layer_0': TorchvisionLayer(width, hidden)})
        self.ln = nn.LayerNorm(width, 1e-6)

    def forward(self, x):
        return self.ln(self.layers['encoder_layer_0'](self.embedded(x + self.pos_embedding)))


class TorchvisionLayer(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.self_attention = nn.MultiheadAttention(width, 1, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0), nn.Linear(hidden, width)
        )

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y)[0]
        return x + self.mlp(self.ln_2(x))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over channels, channels first."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TimmConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = nn.LayerNorm(width, 1e-6), Perceptron(width, 4 * width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = self.gamma * self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


class TimmConvNextStage(nn.Module):
    def __init__(self, entry, width, depth):
        super().__init__()
        shrink = nn.Sequential(ChannelNorm(entry, 1e-6), nn.Conv2d(entry, width, 2, 2))
        self.downsample = shrink if entry != width else nn.Identity()
        self.blocks = nn.Sequential(*(TimmConvNextBlock(width) for _ in range(depth)))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class TimmConvNext(nn.Module):
    def __init__(self, widths=(8, 12, 16, 20), depths=(1, 1, 2, 1)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], 1e-6))
        entries = (widths[0], *widths)
        sizes = zip(entries, widths, depths, strict=False)
        self.stages = nn.Sequential(*(TimmConvNextStage(*row) for row in sizes))
        norm, fc = nn.LayerNorm(widths[-1], 1e-6), nn.Linear(widths[-1], LABELS)
        self.head = nn.ModuleDict({'norm': norm, 'fc': fc})

    def forward(self, images):
        x = self.stages(self.stem(images)).mean((2, 3))
        return self.head['fc'](self.head['norm'](x))


class TorchvisionConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.Identity(),
            nn.LayerNorm(width, 1e-6),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x):
        y = self.block[0](x).permute(0, 2, 3, 1)
        return x + self.layer_scale * self.block[1:](y).permute(0, 3, 1, 2)


class TorchvisionConvNext(nn.Module):
    def __init__(self, widths=(8, 12, 16, 20), depths=(1, 1, 2, 1)):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], 1e-6))
        parts = [stem]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                entry = widths[stage - 1]
                shrink = nn.Conv2d(entry, width, 2, 2)
                parts.append(nn.Sequential(ChannelNorm(entry, 1e-6), shrink))
            parts.append(nn.Sequential(*(TorchvisionConvNextBlock(width) for _ in range(depth))))
        self.features = nn.Sequential(*parts)
        last = nn.Linear(widths[-1], LABELS)
        self.classifier = nn.Sequential(nn.LayerNorm(widths[-1], 1e-6), nn.Identity(), last)

    def forward(self, images):
        return self.classifier(self.features(images).mean((2, 3)))


class TorchvisionBlock(nn.Module):
    """A basic block, or with `inner` a bottleneck."""

    def __init__(self, entry, width, stride, inner=None):
        super().__init__()
        sizes = [(entry, width, 3, stride), (width, width, 3, 1)]
        if inner:
            sizes = [(entry, inner, 1, 1), (inner, inner, 3, stride), (inner, width, 1, 1)]
        for index, (a, b, size, step) in enumerate(sizes, start=1):
            conv = nn.Conv2d(a, b, size, step, size // 2, bias=False)
            self.add_module(f'conv{index}', conv)
            self.add_module(f'bn{index}', nn.BatchNorm2d(b))
        self.count = len(sizes)
        if entry != width or stride > 1:
            conv = nn.Conv2d(entry, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = x
        for index in range(1, self.count + 1):
            y = getattr(self, f'bn{index}')(getattr(self, f'conv{index}')(y))
            y = F.relu(y) if index < self.count else y
        return F.relu(y + self.downsample(x))


class TorchvisionResNet(nn.Module):
    def __init__(self, widths=(8, 12), depths=(2, 1), bottleneck=False):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.stem = nn.Identity()
        self.depth, entry = len(widths), 8
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                inner = width // 4 if bottleneck else None
                blocks.append(TorchvisionBlock(entry, width, stride, inner))
                entry = width
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
        self.pool, self.fc = nn.Flatten(), nn.Linear(entry, LABELS)

    def forward(self, images):
        x = self.stem(F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1))
        for stage in range(1, self.depth + 1):
            x = getattr(self, f'layer{stage}')(x)
        return self.fc(self.pool(x.mean((2, 3))))


def saver(config=None):
    """Saves as safetensors, with timm's config.json beside it or with none."""

    def save(model, folder):
        folder.mkdir(parents=True)
        save_file(model.state_dict(), folder / 'model.safetensors')
        if config:
            (folder / 'config.json').write_text(json.dumps(config))

    return save


def save_augreg(model: TimmViT, folder: pathlib.Path) -> None:
    """The same ViT as Flax lays it out: kernels (in, out), heads on an axis of their own."""
    folder.mkdir(parents=True)
    tensors = {n: t.detach().numpy() for n, t in model.named_parameters()}
    heads = model.blocks[0].attn.heads
    width = tensors['cls_token'].shape[-1]
    out = {
        'cls': tensors['cls_token'],
        'embedding/kernel': tensors['patch_embed.proj.weight'].transpose(2, 3, 1, 0),
        'embedding/bias': tensors['patch_embed.proj.bias'],
        'Transformer/posembed_input/pos_embedding': tensors['pos_embed'],
        'Transformer/encoder_norm/scale': tensors['norm.weight'],
        'Transformer/encoder_norm/bias': tensors['norm.bias'],
        'head/kernel': tensors['head.weight'].T,
        'head/bias': tensors['head.bias'],
    }
    for index in range(len(model.blocks)):
        old, new = f'blocks.{index}', f'Transformer/encoderblock_{index}'
        for norm, name in (('norm1', 'LayerNorm_0'), ('norm2', 'LayerNorm_2')):
            out[f'{new}/{name}/scale'] = tensors[f'{old}.{norm}.weight']
            out[f'{new}/{name}/bias'] = tensors[f'{old}.{norm}.bias']
        attention = f'{new}/MultiHeadDotProductAttention_1'
        for part, name in enumerate(('query', 'key', 'value')):
            rows = slice(part * width, (part + 1) * width)
            kernel = tensors[f'{old}.attn.qkv.weight'][rows].T
            bias = tensors[f'{old}.attn.qkv.bias'][rows]
            out[f'{attention}/{name}/kernel'] = kernel.reshape(width, heads, -1)
            out[f'{attention}/{name}/bias'] = bias.reshape(heads, -1)
        kernel = tensors[f'{old}.attn.proj.weight'].T
        out[f'{attention}/out/kernel'] = kernel.reshape(heads, -1, width)
        out[f'{attention}/out/bias'] = tensors[f'{old}.attn.proj.bias']
        for layer in (0, 1):
            name = f'{new}/MlpBlock_3/Dense_{layer}'
            out[f'{name}/kernel'] = tensors[f'{old}.mlp.fc{layer + 1}.weight'].T
            out[f'{name}/bias'] = tensors[f'{old}.mlp.fc{layer + 1}.bias']
    np.savez(folder / 'model.npz', **out)


def whole(output):
    return output


def nhwc(output):
    return output.permute(0, 2, 3, 1)


def class_token(output):
    return output[:, 0]


def case(family, source, build, taps, save, side, **more) -> Case:
    shape = (BATCH, side, side, 3)
    return Case(
        family=family,
        source=source,
        build=build,
        inputs=lambda rng: rng.normal(size=shape).astype(np.float32),
        labels=lambda rng: rng.integers(0, LABELS, BATCH),
        taps={**taps, 'head': ('', whole)},
        forward=lambda model, inputs: model(inputs['inputs'].permute(0, 3, 1, 2)),
        logits=whole,
        save=save,
        **more,
    )


def timm_config(architecture, side, **arguments):
    return {
        'architecture': architecture,
        'num_classes': LABELS,
        'model_args': arguments,
        'pretrained_cfg': {'input_size': [3, side, side], 'mean': [0.4] * 3, 'std': [0.3] * 3},
    }


TIMM_VIT = {
    'embed': ('embedded', whole),
    'block_00': ('blocks.0', whole),
    'block_01': ('blocks.1', whole),
    'norm': ('norm', class_token),
}
TORCHVISION_VIT = {
    'embed': ('encoder.embedded', whole),
    'block_00': ('encoder.layers.encoder_layer_0', whole),
    'norm': ('encoder.ln', class_token),
}
TIMM_CONVNEXT = {
    'stem': ('stem', nhwc),
    'stage1_block0': ('stages.0.blocks.0', nhwc),
    'stage2_block0': ('stages.1.blocks.0', nhwc),
    'stage3_block0': ('stages.2.blocks.0', nhwc),
    'stage3_block1': ('stages.2.blocks.1', nhwc),
    'stage4_block0': ('stages.3.blocks.0', nhwc),
    'norm': ('head.norm', whole),
}
TORCHVISION_CONVNEXT = {
    'stem': ('features.0', nhwc),
    'stage1_block0': ('features.1.0', nhwc),
    'stage2_block0': ('features.3.0', nhwc),
    'stage3_block0': ('features.5.0', nhwc),
    'stage3_block1': ('features.5.1', nhwc),
    'stage4_block0': ('features.7.0', nhwc),
    'norm': ('classifier.0', whole),
}
VIT_SIZES = {'embed_dim': 24, 'depth': 2, 'num_heads': 3}


def resnet(depths, options, **more):
    taps = {'stem': ('stem', nhwc), 'pool': ('pool', whole)}
    for stage, count in enumerate(depths, start=1):
        for block in range(count):
            taps[f'stage{stage}_block{block}'] = (f'layer{stage}.{block}', nhwc)

    def build():
        return TorchvisionResNet(depths=depths, **more)

    return case('ResNet', 'torchvision', build, taps, saver(), 32, **options)


CASES: dict[str, Case] = {
    'vit_timm': case(
        'ViT',
        'timm',
        TimmViT,
        TIMM_VIT,
        saver(timm_config('vit_tiny_patch8_16', 16, **VIT_SIZES)),
        16,
        golden=True,
    ),
    'vit_timm_layer_scale': case(
        'ViT',
        'timm',
        lambda: TimmViT(scaled=True),
        TIMM_VIT,
        saver(timm_config('vit_tiny_patch8_16', 16, init_values=1e-5, **VIT_SIZES)),
        16,
    ),
    'vit_augreg': case('ViT', 'AugReg .npz', TimmViT, TIMM_VIT, save_augreg, 16, golden=True),
    'vit_torchvision': case(
        'ViT', 'torchvision', TorchvisionViT, TORCHVISION_VIT, saver(), 8, golden=True
    ),
    'deit_timm': case(
        'DeiT',
        'timm',
        lambda: TimmViT(distilled=True),
        TIMM_VIT,
        saver(timm_config('deit_tiny_distilled_patch8_16', 16, **VIT_SIZES)),
        16,
        golden=True,
    ),
    'convnext_timm': case(
        'ConvNeXt',
        'timm',
        TimmConvNext,
        TIMM_CONVNEXT,
        saver(timm_config('convnext_tiny', 32, depths=[1, 1, 2, 1], dims=[8, 12, 16, 20])),
        32,
        golden=True,
    ),
    'convnext_torchvision': case(
        'ConvNeXt', 'torchvision', TorchvisionConvNext, TORCHVISION_CONVNEXT, saver(), 32
    ),
    'resnet_torchvision': resnet((2, 1), {'golden': True}),
    'resnet_torchvision_bottleneck': resnet(
        (1, 1), {'rate': 0.1}, widths=(16, 24), bottleneck=True
    ),
}
