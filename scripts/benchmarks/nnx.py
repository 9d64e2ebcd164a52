"""Training steps of an NNX model beside its twin in linen, in the same process."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

SIZE, BATCH = 96, 16
VIT = {'image': SIZE, 'patch': 16, 'width': 192, 'depth': 6, 'heads': 3, 'classes': 10}
CASES = (('vit', 'full'), ('vit', 'last:2'), ('vit', 'lora:8'), ('resnet', 'full'))
CAPTION = (
    'Training steps of an NNX model (`from_nnx`) beside the same network in linen: a ViT (width '
    f'192, 6 blocks, {SIZE} px, batch {BATCH}) and a ResNet with BatchNorm (32 channels, 4 '
    f'blocks, {SIZE // 2} px, batch {BATCH}), float32, AdamW, from the same weights. Ratio: '
    'seconds of a step of NNX over those of linen, median over blocks of steps taken in turn; '
    'spread: quartiles; of core seconds: the same of all cores together. Loss difference: of the '
    'losses of the first block, the largest (LoRA draws its first factors from other keys). '
    'Measured while the machine did other work too.'
)
COMMAND = 'python scripts/benchmark.py nnx'


def run(folder: pathlib.Path, steps: int = 24, block: int = 2) -> list[dict[str, Any]]:
    """Writes nnx.json and nnx.md, a row a network and strategy."""
    from benchmarks import tables

    rows = []
    for network, strategy in CASES:
        rows.append(measured(network, strategy, steps, block))
        tables.write(folder, 'nnx', rows, CAPTION, COMMAND, show=False)
    print((folder / 'nnx.md').read_text(encoding='utf-8'))
    return rows


def twins(name: str, size: int) -> dict[str, tuple[Any, Any]]:
    """The network and its variables, of NNX and of linen, with equal weights."""
    import jax.numpy as jnp
    from benchmarks import nnx_twins
    from flax import nnx
    from flax.traverse_util import flatten_dict, unflatten_dict

    from ftjax.models import from_nnx
    from ftjax.models.registry import build

    example = jnp.zeros((1, size, size, 3))
    if name == 'resnet':
        model = nnx_twins.ResNet(3, 32, 4, 10, rngs=nnx.Rngs(0))
        built = from_nnx(model, nnx_twins.resnet_stages(4), example=example)
        linen = nnx_twins.LinenResNet(width=32, depth=4, num_classes=10, image_size=size)
        return {'nnx': (built.network, built.variables), 'linen': (linen, built.variables)}
    model = nnx_twins.ViT(**VIT, rngs=nnx.Rngs(0))
    built = from_nnx(model, nnx_twins.vit_stages(VIT['depth']), example=example)
    options = {
        'image_size': size,
        'patch_size': VIT['patch'],
        'width': VIT['width'],
        'depth': VIT['depth'],
        'heads': VIT['heads'],
        'num_classes': 10,
        'act': 'gelu_tanh',
    }
    pairs: Any = flatten_dict(built.variables['params'], sep='/').items()
    leaves = dict(nnx_twins.linen_vit_leaf(key, leaf, VIT['patch']) for key, leaf in pairs)
    known = {'params': unflatten_dict(leaves, sep='/')}
    return {'nnx': (built.network, built.variables), 'linen': (build('vit', options), known)}


def measured(name: str, strategy: str, steps: int, block: int) -> dict[str, Any]:
    """A row of the table."""
    from benchmarks.fit_steps import FitSteps
    from benchmarks.sides import made_images
    from benchmarks.step import check_sizes, step_seconds

    from ftjax.data import Splits
    from ftjax.preprocessing.images import Preprocessing

    size = SIZE if name == 'vit' else SIZE // 2
    train, val = made_images(64, size), made_images(8, size, seed=1)
    data, preprocessing = (
        Splits(train=train, val=val, test=val),
        Preprocessing(image_size=(size, size)),
    )
    sides = {
        side: FitSteps(network, variables, strategy, data, preprocessing, BATCH, longest=block)
        for side, (network, variables) in twins(name, size).items()
    }
    check_sizes(sides['nnx'], sides['linen'])
    losses = {}
    for side, made in sides.items():
        made.steps(block)
        losses[side] = np.asarray(made.losses)
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for turn in range(-(-steps // block)):
        for side in list(sides) if turn % 2 == 0 else reversed(list(sides)):
            times[side].append(step_seconds(sides[side], block, 0.0))
    ours, cores = np.array(times['nnx']).T
    theirs, their_cores = np.array(times['linen']).T
    return {
        'row': f'{name} {strategy}',
        'ratio': float(np.median(ours / theirs)),
        'spread': [float(q) for q in np.quantile(ours / theirs, (0.25, 0.75))],
        'ratio_of_core_seconds': float(np.median(cores) / np.median(their_cores)),
        'nnx_ms': 1e3 * float(np.median(ours)),
        'linen_ms': 1e3 * float(np.median(theirs)),
        'loss_difference': float(np.abs(losses['nnx'] - losses['linen']).max()),
        'steps': steps,
    }
