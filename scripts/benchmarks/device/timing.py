"""Sides in turn: seconds of a step of each, and the row that compares them."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

PEAKS = {
    'NVIDIA H200': 989e12,
    'NVIDIA H100': 989e12,
    'NVIDIA A100': 312e12,
    'NVIDIA L4': 121e12,
}
"""Dense bfloat16 FLOPs a second by the makers' data sheets."""


def in_turn(sides: Mapping[str, Any], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds of a step of every side, a number a round; sides take turns.

    Each turn runs for about `seconds` in all, after one that warms up.
    """
    least = {}
    for name, side in sides.items():
        side.steps(1)
        began = time.perf_counter()
        made = side.steps(1)
        one = (time.perf_counter() - began) / made
        least[name] = max(made, int(seconds / one))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides)
        for name in order if turn % 2 == 0 else reversed(order):
            began = time.perf_counter()
            made = sides[name].steps(least[name])
            times[name].append((time.perf_counter() - began) / made)
    return times


def compared(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Milliseconds of every side, and those of each over ours: medians and ranges."""
    mine = np.array(times['ftjax'])
    found: dict[str, Any] = {'ftjax_ms': 1e3 * float(np.median(mine))}
    for name, values in times.items():
        if name == 'ftjax':
            continue
        other = np.array(values)
        found[f'{name}_ms'] = 1e3 * float(np.median(other))
        found[f'{name}_over_ftjax'] = float(np.median(other / mine))
        found[f'{name}_spread'] = [float((other / mine).min()), float((other / mine).max())]
    return found


def product_rate(size: int) -> float:
    """Most bfloat16 FLOPs a second of a product of two square matrices of random numbers."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), jnp.bfloat16) for key in keys)
    product = jax.jit(lambda a, b: a @ b)
    jax.block_until_ready(product(a, b))
    best, times = 0.0, 10
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready([product(a, b) for _ in range(times)][-1])
        best = max(best, times * 2 * size**3 / (time.perf_counter() - began))
    return best


def sheet_rate() -> float | None:
    """Of the present device, from PEAKS; None for one that is not in it."""
    import jax

    kind = jax.devices()[0].device_kind
    return next((rate for name, rate in PEAKS.items() if kind.startswith(name)), None)


def cleared() -> None:
    """Forgets compiled programs and frees what the last pair of sides held."""
    import jax

    gc.collect()
    jax.clear_caches()
    try:
        import torch
    except ImportError:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
