"""Ways to compute a convolution on a CPU, forward and both gradients, beside PyTorch's."""

from __future__ import annotations

import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# (images, pixels a side, channels, features): the layers of ResNet-26 at 32 px, one of ImageNet's.
SHAPES = (
    (64, 32, 3, 16),
    (64, 32, 16, 16),
    (64, 16, 32, 32),
    (64, 8, 64, 64),
    (16, 56, 64, 64),
)
CAPTION = (
    'A 3x3 convolution of stride 1, float32: outputs and both gradients, by several ways of one '
    'compiler beside PyTorch (oneDNN), timed in turn in one process with the same number of '
    'threads. Ratio: median seconds of PyTorch over those of the way; spread: quartiles of the '
    'rounds. Utilisation: the FLOPs of the direct convolution a second, over those of a large '
    'product of matrices. "ftjax" is what networks of small images do: operands of gradients are '
    'stored first, which shows in whole networks alone, and before jax 0.12 the gradient of the '
    'kernel is summed over groups of 8 images. '
    'XLA_FLAGS as set, "default" where they are not.'
)
COMMAND = 'python scripts/benchmark.py convolutions'


def run(
    folder: pathlib.Path,
    shapes: tuple[tuple[int, int, int, int], ...] = SHAPES,
    rounds: int = 15,
    product: int = 2048,
) -> list[dict[str, Any]]:
    """Writes convolutions.json and convolutions.md, a row a shape and way.

    Rows under other XLA_FLAGS stay. Every way is compared with the direct one before it is timed.
    """
    from benchmarks import tables
    from benchmarks.step import product_rate

    flags = xla_flags()
    rate = product_rate('float32', 2 * product)
    rows = {
        key: row
        for key, row in tables.rows_here(folder, 'convolutions').items()
        if row['flags'] != flags
    }
    for shape in shapes:
        rows.update({row['row']: row for row in rows_of(shape, rounds, rate, flags)})
    tables.write(folder, 'convolutions', list(rows.values()), CAPTION, COMMAND)
    return list(rows.values())


def xla_flags() -> str:
    """The flags of XLA that this process was started with."""
    import os

    return os.environ.get('XLA_FLAGS', '').strip() or 'default'


def rows_of(
    shape: tuple[int, int, int, int], rounds: int, rate: float, flags: str
) -> list[dict[str, Any]]:
    """A row for each way of a shape."""
    from benchmarks.convolution_ways import WAYS, with_gradients

    batch, size, channels, features = shape
    draw = np.random.default_rng(0)
    arrays = tuple(
        draw.standard_normal(each, np.float32)
        for each in (
            (batch, size, size, channels),
            (3, 3, channels, features),
            (batch, size, size, features),
        )
    )
    calls = {name: ours(with_gradients(way), arrays) for name, way in WAYS.items()}
    expected = [np.asarray(x) for x in calls['direct']()]
    calls['PyTorch'] = theirs(arrays)
    for name, call in calls.items():
        compare(name, [np.asarray(x) for x in call()], expected)
    times = in_turn(calls, rounds)
    flops = 3 * 2 * 9 * batch * size * size * channels * features
    return [
        {
            'row': f'{size} px, {channels} to {features}, {batch} images: {name}'
            + ('' if flags == 'default' else f' ({flags})'),
            'ratio': statistics.median(times['PyTorch']) / statistics.median(times[name]),
            'spread': quartiles(times['PyTorch'], times[name]),
            'ms': 1e3 * statistics.median(times[name]),
            'pytorch_ms': 1e3 * statistics.median(times['PyTorch']),
            'utilisation': flops / statistics.median(times[name]) / rate,
            'flags': flags,
            'rounds': rounds,
        }
        for name in WAYS
    ]


def ours(function: Callable[..., Any], arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """A call of a compiled function that waits for its results."""
    import jax

    there = jax.device_put(arrays)
    return lambda: jax.block_until_ready(function(*there))


def theirs(arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """PyTorch's, channels last, as (batch, height, width, channels) and (3, 3, in, out)."""
    import torch
    from benchmarks.sides import threads

    torch.set_num_threads(threads())
    images, kernel, cotangent = map(torch.from_numpy, arrays)
    last = torch.channels_last
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=last).requires_grad_()
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=last).requires_grad_()
    cotangent = cotangent.permute(0, 3, 1, 2).contiguous(memory_format=last)

    def call() -> Any:
        outputs = torch.nn.functional.conv2d(images, kernel, padding=1)
        to_images, to_kernel = torch.autograd.grad(outputs, (images, kernel), cotangent)
        return (
            outputs.detach().permute(0, 2, 3, 1),
            to_images.permute(0, 2, 3, 1),
            to_kernel.permute(2, 3, 1, 0),
        )

    return call


def compare(name: str, found: list[Any], expected: list[Any]) -> None:
    """All ways compute the same numbers.

    Raises:
      AssertionError: they differ by more than rounding.
    """
    for mine, other in zip(found, expected, strict=True):
        error = np.abs(mine - other).max() / np.abs(other).max()
        if error > 1e-4:
            raise AssertionError(f'{name}: differs from the direct convolution by {error:.1e}')


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in every round; every second round in reverse order."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls) if number % 2 == 0 else reversed(list(calls)):
            begun, made = time.perf_counter(), 0
            while made < 2 or time.perf_counter() - begun < 0.02:
                calls[name]()
                made += 1
            times[name].append((time.perf_counter() - begun) / made)
    return times


def quartiles(theirs: list[float], mine: list[float]) -> list[float]:
    """The quartiles of the ratios of the rounds."""
    found = np.divide(theirs, mine)
    return [float(x) for x in np.quantile(found, (0.25, 0.75))]
