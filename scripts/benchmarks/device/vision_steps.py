"""ViT-B/16 at 224 px in bfloat16 beside PyTorch eager, compiled and timm's, and the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn, product_rate, sheet_rate

FROZEN = ('head', 'last:2', 'lora:8', 'bitfit')
"""Ascending in memory: the peak that JAX reports is that of the process so far."""
COMPILED = ('full', 'last:2')
"""Strategies that torch.compile is tried on: each takes half a minute to compile."""
FULL = {'image_size': 224, 'width': 768, 'depth': 12, 'heads': 12}
TINY = {'image_size': 32, 'width': 32, 'depth': 3, 'heads': 2}


def run(section: Section, tiny: bool) -> None:
    """Full fine-tuning beside all others."""
    strategies(section, tiny, ('full',))


def strategies(section: Section, tiny: bool, names: tuple[str, ...]) -> None:
    """A row a strategy."""
    sizes, batch, seconds = (TINY, 8, 0.05) if tiny else (FULL, 128, 0.6)
    rate, sheet = product_rate(512 if tiny else 8192), sheet_rate()
    section.note(product_rate=rate, sheet_rate=sheet)
    for name in names:
        one(section, name, sizes, batch, rate, sheet, seconds)
        cleared()


def made(sizes: dict[str, Any], batch: int) -> tuple[Any, Any, dict[str, Any], Any]:
    """(network, variables on the host, batch, preprocessing)."""
    from benchmarks.device.placed_steps import made_variables

    from ftjax.models.registry import build
    from ftjax.preprocessing.images import Preprocessing

    options = {**sizes, 'patch_size': 16, 'num_classes': 10, 'dtype': 'bfloat16'}
    network = build('vit', options)
    side = sizes['image_size']
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    labels = (np.arange(batch) % 10).astype(np.int32)
    given = {'inputs': images, 'labels': labels, 'mask': np.ones(batch, np.float32)}
    return network, made_variables(network), given, Preprocessing(image_size=(side, side))


def own_side(strategy: str, sizes: dict[str, Any], batch: int, **more: Any) -> Any:
    """Our steps of a strategy."""
    from benchmarks.device.placed_steps import PlacedSteps

    network, variables, given, preprocessing = made(sizes, batch)
    return PlacedSteps(network, variables, strategy, given, preprocessing=preprocessing, **more)


def one(
    section: Section,
    strategy: str,
    sizes: dict[str, Any],
    batch: int,
    rate: float,
    sheet: float | None,
    seconds: float,
) -> None:
    """Our step: utilisation, peak memory beside its forecast, and its time beside PyTorch's."""
    from benchmarks.device.placed_steps import peak_bytes
    from benchmarks.ideal_vit import ideal_flops

    before = peak_bytes()
    ours = own_side(strategy, sizes, batch)
    ours.steps(2)
    peak = peak_bytes()
    leaves, trained = ours.phase_state.phase.leaves, ours.phase_state.phase.trainable
    shapes = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
    flops = ideal_flops(made(sizes, 1)[0], shapes, trained, batch)
    times = in_turn({'ftjax': ours}, seconds, 3)
    median = float(np.median(times['ftjax']))
    own = {
        'ftjax_ms': 1e3 * median,
        'images_a_second': batch / median,
        'ideal_TFLOP': flops / 1e12,
        'MFU': None if sheet is None else flops / median / sheet,
        'of_measured_product': flops / median / rate,
        'peak_GiB': peak / 2**30 if peak > before else None,
        'forecast_GiB': ours.forecast / 2**30,
        'forecast_over_peak': ours.forecast / peak if peak > before else None,
        'compile_seconds': ours.compile_seconds,
        'trained': ours.sizes[1],
    }
    section.row(row=f'ViT-B/16 {strategy}', kind='own', **own)
    sides = {'ftjax': ours, **others(section, strategy, sizes, batch)}
    if len(sides) > 1:
        if 'eager' in sides and sides['eager'].trainable != ours.sizes[1]:
            raise AssertionError(f'{sides["eager"].trainable} and {ours.sizes[1]} train')
        section.row(
            row=f'ViT-B/16 {strategy}', kind='beside', **compared(in_turn(sides, seconds, 3))
        )


def others(section: Section, strategy: str, sizes: dict[str, Any], batch: int) -> dict[str, Any]:
    """PyTorch's sides of a strategy that could be made; the section says what could not."""
    makers = {'eager': lambda: torch_side(strategy, sizes, batch, compiled=False)}
    if strategy == 'full':
        makers['timm'] = lambda: timm_side(sizes, batch, compiled=False)
    if strategy in COMPILED:
        makers['compiled'] = lambda: torch_side(strategy, sizes, batch, compiled=True)
    if strategy == 'full':
        makers['timm_compiled'] = lambda: timm_side(sizes, batch, compiled=True)
    sides = {}
    for name, make in makers.items():
        if 'compiled' in name and section.left < 25:
            section.leave_out(f'ViT-B/16 {strategy} {name}', 'no time left to compile it')
            continue
        try:
            sides[name] = make()
            sides[name].steps(1)
        except Exception as error:
            sides.pop(name, None)
            section.leave_out(f'ViT-B/16 {strategy} {name}', f'{type(error).__name__}: {error}')
    return sides


def torch_side(strategy: str, sizes: dict[str, Any], batch: int, compiled: bool) -> Any:
    """A ViT as PyTorch users write it."""
    from benchmarks import torch_steps
    from benchmarks.device.torch_placed import TorchPlaced
    from benchmarks.torch_vit import ViT

    shape = {name: sizes[name] for name in ('width', 'depth', 'heads')}
    model: Any = ViT(sizes['image_size'], 16, classes=10, **shape)
    parts = {'head': model.head, 'blocks': model.blocks, 'after': [model.norm]}
    trained = torch_steps.opened(model, parts, strategy)
    return TorchPlaced(model, trained, image_loss, torch_batch(sizes, batch), compiled=compiled)


def timm_side(sizes: dict[str, Any], batch: int, compiled: bool) -> Any:
    """Timm's ViT, its fused attention, its step."""
    import timm
    from benchmarks.device.torch_placed import TorchPlaced

    name, more = 'vit_base_patch16_224', {}
    if sizes is TINY:
        more = {'embed_dim': 32, 'depth': 3, 'num_heads': 2, 'img_size': 32}
    model = timm.create_model(name, num_classes=10, **more).train()
    return TorchPlaced(
        model, model.parameters(), image_loss, torch_batch(sizes, batch), compiled=compiled
    )


def torch_batch(sizes: dict[str, Any], batch: int) -> dict[str, Any]:
    """Images as bytes, channels first, and labels."""
    import torch

    side = sizes['image_size']
    images = np.random.default_rng(0).integers(0, 256, (batch, 3, side, side), np.uint8)
    return {'images': torch.from_numpy(images), 'labels': torch.arange(batch) % 10}


def image_loss(model: Any, batch: Any) -> Any:
    """Cross-entropy of images that are normalised on the device, as ours are."""
    import torch.nn.functional as F

    inputs = (batch['images'].float() / 255 - 0.5) / 0.5
    return F.cross_entropy(model(inputs).float(), batch['labels'])
