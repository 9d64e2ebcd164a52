"""Compiles PyTorch's sides ahead, several at once, into the cache that torch.compile keeps.

    python -m benchmarks.device.warm_torch NAME [tiny]

What is measured later then compiles in seconds; nothing here is measured.
"""

from __future__ import annotations

import sys

import numpy as np
from benchmarks.device import language_steps, resnet_steps, vision_steps


def vit(strategy: str, tiny: bool) -> None:
    """Of our PyTorch ViT."""
    sizes, batch = (vision_steps.TINY, 8) if tiny else (vision_steps.FULL, 128)
    vision_steps.torch_side(strategy, sizes, batch, compiled=True).steps(1)


def timm(tiny: bool) -> None:
    """Of timm's ViT."""
    sizes, batch = (vision_steps.TINY, 8) if tiny else (vision_steps.FULL, 128)
    vision_steps.timm_side(sizes, batch, compiled=True).steps(1)


def bert(tiny: bool) -> None:
    """Of transformers' BERT."""
    options, batch, time = language_steps.sizes(tiny)
    tokens = language_steps.texts(batch, time, 30522)
    labels = (np.arange(batch) % 10).astype(np.int32)
    language_steps.torch_bert('full', options, tokens, labels, compiled=True).steps(1)


def resnet(tiny: bool) -> None:
    """Of torchvision's ResNet-50."""
    _, images, labels, depths, _ = resnet_steps.sizes(tiny)
    resnet_steps.torch_side('full', depths, images, labels, compiled=True).steps(1)


NAMES = {
    'vit full': lambda tiny: vit('full', tiny),
    'vit last:2': lambda tiny: vit('last:2', tiny),
    'timm': timm,
    'bert': bert,
    'resnet': resnet,
}

if __name__ == '__main__':
    NAMES[sys.argv[1]](sys.argv[2:] == ['tiny'])
