"""ResNet-50 at 224 px in bfloat16 beside torchvision's."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn

WIDTHS = (256, 512, 1024, 2048)


def run(section: Section, tiny: bool) -> None:
    """A row a strategy."""
    for strategy in ('full', 'last:2', 'head'):
        one(section, strategy, tiny)
        cleared()


def sizes(tiny: bool) -> tuple[dict[str, Any], Any, Any, tuple[int, ...], int]:
    """(options, images, labels, blocks of each stage, pixels of a side)."""
    side, batch = (32, 4) if tiny else (224, 128)
    depths, widths = ((1, 1, 1, 1), (16, 16, 32, 32)) if tiny else ((3, 4, 6, 3), WIDTHS)
    shape = {'depths': depths, 'widths': widths, 'block': 'bottleneck', 'image_size': side}
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    return shape, images, (np.arange(batch) % 10).astype(np.int32), depths, side


def one(section: Section, strategy: str, tiny: bool) -> None:
    """One strategy: the same blocks train on both sides, BatchNorm by the batch in them alone."""
    from benchmarks.device.placed_steps import PlacedSteps, made_variables

    from ftjax.models.registry import build
    from ftjax.preprocessing.images import Preprocessing

    shape, images, labels, depths, side = sizes(tiny)
    network = build('resnet', {**shape, 'num_classes': 10, 'dtype': 'bfloat16'})
    batch = len(images)
    given = {'inputs': images, 'labels': labels, 'mask': np.ones(batch, np.float32)}
    freeze = {'strategy': strategy, 'norm': 'follow_mask'}
    preprocessing = Preprocessing(image_size=(side, side))
    ours = PlacedSteps(network, made_variables(network), freeze, given, preprocessing=preprocessing)
    sides: dict[str, Any] = {'ftjax': ours}
    for name in ('eager', 'compiled') if strategy == 'full' else ('eager',):
        if name == 'compiled' and section.left < 20:
            section.leave_out(f'ResNet-50 {strategy} compiled', 'no time left to compile it')
            continue
        try:
            other = torch_side(strategy, depths, images, labels, name == 'compiled')
            other.steps(1)
            sides[name] = other
        except Exception as error:
            section.leave_out(f'ResNet-50 {strategy} {name}', f'{type(error).__name__}: {error}')
    times = in_turn(sides, 0.05 if tiny else 0.6, 3)
    section.row(
        row=f'ResNet-50 {strategy}',
        kind='beside',
        **compared(times),
        images_a_second=batch / float(np.median(times['ftjax'])),
        compile_seconds=ours.compile_seconds,
        trained=ours.sizes[1],
    )


def torch_side(strategy: str, depths: Any, images: Any, labels: Any, compiled: bool) -> Any:
    """torchvision's, channels last."""
    import torch
    import torchvision
    from benchmarks.device.torch_placed import TorchPlaced
    from benchmarks.device.vision_steps import image_loss

    resnet = torchvision.models.resnet
    model = resnet.ResNet(resnet.Bottleneck, list(depths), num_classes=10)
    blocks = [
        block
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4)
        for block in layer
    ]
    opened = {'full': [model], 'head': [model.fc], 'last:2': [*blocks[-2:], model.fc]}[strategy]
    model.requires_grad_(False).eval()
    for module in opened:
        module.requires_grad_(True).train()
    placed = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    batch = {
        'images': placed.contiguous(memory_format=torch.channels_last),
        'labels': torch.from_numpy(labels).long(),
    }
    return TorchPlaced(
        model, model.parameters(), image_loss, batch, compiled=compiled, channels_last=True
    )
