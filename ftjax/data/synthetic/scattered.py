"""Scattered digits: scikit-learn's 8x8 digits at random size, angle and place, with noise.

The upright digits fill their frame, so a linear model on raw pixels reads them well and there
is little for pretraining to add. Here the same digits are moved about on a larger canvas.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.data.synthetic.glyphs import CANVAS
from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scatter:
    """Ranges the draws are uniform over."""

    size: tuple[float, float] = (11.0, 18.0)
    """Side of the 8x8 digit on the canvas, pixels."""
    angle: float = 20.0
    """Largest rotation, degrees."""
    ink: tuple[float, float] = (0.6, 1.0)
    """Brightness of a full pixel, of 1."""
    noise: float = 0.10
    """Standard deviation of the Gaussian pixel noise, of 1."""


def scatter_digits(
    images: np.ndarray, seed: int = 0, size: int = CANVAS, scatter: Scatter | None = None
) -> np.ndarray:
    """Draws each small image at a random size, angle and place on a canvas, with noise.

    Deterministic, and example i's draw depends on (seed, i) alone: the same digit looks the
    same in every run, split and subset.

    Args:
      images: uint8 (N, h, w) or (N, h, w, 1), 0..255, bright on dark.
      seed: which draws; any int >= 0.
      size: side of the canvas in pixels.
      scatter: ranges to draw from; None for those of `digits:scattered`.

    Returns:
      uint8 (N, size, size, 1).

    Raises:
      UserError: if the images are not uint8 or not of that shape.

    >>> scatter_digits(np.zeros((3, 8, 8), np.uint8)).shape
    (3, 24, 24, 1)
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or images.ndim != 3:
        raise UserError(
            f'scattered digits: expected uint8 images of shape (N, h, w), '
            f'got {images.dtype} {images.shape}'
        )
    ranges = scatter or Scatter()
    canvas = np.empty((len(images), size, size, 1), np.uint8)
    for index, image in enumerate(images):
        rng = np.random.default_rng((seed, index))
        canvas[index, :, :, 0] = _place(rng, image / np.float32(255), size, ranges)
    return canvas


def _place(rng: np.random.Generator, image: np.ndarray, size: int, r: Scatter) -> np.ndarray:
    """One canvas, uint8 (size, size)."""
    side = rng.uniform(*r.size)
    angle = np.deg2rad(rng.uniform(-r.angle, r.angle))
    # Of the turned square only the inner circle must stay inside: its corners hold no ink.
    column, row = rng.uniform(-1, 1, 2) * (size - side) / 2
    ink = rng.uniform(*r.ink)

    axis = np.arange(size) + 0.5 - size / 2
    x, y = (axis[None, :] - column) / side, (axis[:, None] - row) / side
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    drawn = ink * _bilinear(
        image, (v + 0.5) * image.shape[0] - 0.5, (u + 0.5) * image.shape[1] - 0.5
    )
    drawn = drawn + r.noise * rng.standard_normal(drawn.shape)
    return (255 * np.clip(drawn, 0, 1) + 0.5).astype(np.uint8)


def _bilinear(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The image at fractional positions; zero outside it."""
    padded = np.pad(image, 1)
    rows = np.clip(rows + 1, 0, padded.shape[0] - 1.001)
    columns = np.clip(columns + 1, 0, padded.shape[1] - 1.001)
    i, j = rows.astype(int), columns.astype(int)
    di, dj = rows - i, columns - j
    top = padded[i, j] * (1 - dj) + padded[i, j + 1] * dj
    low = padded[i + 1, j] * (1 - dj) + padded[i + 1, j + 1] * dj
    return top * (1 - di) + low * di
