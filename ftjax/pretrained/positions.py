"""Learned position tables at another grid, as PyTorch's interpolation gives them."""

from __future__ import annotations

import math

import numpy as np

from ftjax.errors import UserError, check_name

METHODS = ('bicubic', 'bilinear')


def resize_table(
    table: np.ndarray,
    source: tuple[int, int],
    target: tuple[int, int],
    *,
    prefix_tokens: int = 0,
    method: str = 'bicubic',
    antialias: bool = False,
) -> np.ndarray:
    """Resizes (1, prefix + h * w, width) from one (h, w) grid to another; in float64, inside.

    Equals `torch.nn.functional.interpolate(align_corners=False)` on the grid. Without
    antialias that is what transformers and DINOv2 do (a cubic kernel with a = -0.75), with
    it what timm does (a = -0.5, widened when shrinking). Prefix rows are copied.
    """
    prefix, grid = np.split(np.asarray(table, np.float64), [prefix_tokens], axis=1)
    grid = grid.reshape(source[0], source[1], -1)
    rows = weights(source[0], target[0], method, antialias)
    columns = weights(source[1], target[1], method, antialias)
    resized = np.einsum('ah,bw,hwc->abc', rows, columns, grid, optimize=True)
    resized = resized.reshape(1, target[0] * target[1], -1)
    return np.concatenate([prefix, resized], axis=1).astype(table.dtype)


def grid_of(tokens: int, prefix_tokens: int, declared: tuple[int, int] | None) -> tuple[int, int]:
    """The (down, across) grid of a table with so many rows; a square where none is declared."""
    patches = tokens - prefix_tokens
    side = math.isqrt(max(patches, 0))
    grid = declared or (side, side)
    if grid[0] * grid[1] != patches:
        raise UserError(
            f'{tokens} positions, {prefix_tokens} of them for special tokens, are no '
            + (f'{grid[0]}x{grid[1]} grid' if declared else 'square grid')
        )
    return grid


def weights(source: int, target: int, method: str, antialias: bool) -> np.ndarray:
    """The (target, source) matrix that resamples a line of `source` samples to `target`."""
    check_name(method, METHODS, 'interpolation of positions')
    support = 1.0 if method == 'bilinear' else 2.0
    ratio = source / target
    scale = max(ratio, 1.0) if antialias else 1.0
    matrix = np.zeros((target, source))
    for row in range(target):
        centre = (row + 0.5) * ratio - 0.5
        if method == 'bilinear' and not antialias:
            centre = max(centre, 0.0)
        first = math.floor(centre - support * scale) + 1
        last = math.ceil(centre + support * scale)
        taps = np.arange(first, last)
        values = _kernel((taps - centre) / scale, method, antialias)
        if antialias:
            # Taps beyond the edge are dropped and the rest renormalised, as in PIL.
            inside = (taps >= 0) & (taps < source)
            taps, values = taps[inside], values[inside] / values[inside].sum()
        np.add.at(matrix[row], np.clip(taps, 0, source - 1), values)
    return matrix


def _kernel(x: np.ndarray, method: str, antialias: bool) -> np.ndarray:
    x = np.abs(x)
    if method == 'bilinear':
        return np.maximum(1 - x, 0)
    a = -0.5 if antialias else -0.75  # PyTorch's two choices for the cubic of Keys (1981)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
