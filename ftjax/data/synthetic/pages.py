"""Pages of printed characters on noise, with a mask: background, digits and letters."""

from __future__ import annotations

import numpy as np

from ftjax.data.synthetic.glyphs import (
    CANVAS,
    CLASS_NAMES,
    Distortion,
    as_bytes,
    drawn_shapes,
    glyph_atlas,
    inked,
)
from ftjax.errors import UserError

NAMES = ('background', 'digit', 'letter')
CELLS = 2
"""Characters down and across a page, at most."""
SIDE = CELLS * CANVAS
"""Of a page in pixels."""
_THERE = 0.75
"""Share of the places that have a character."""
_NOISE = (0.05, 0.25)
"""Standard deviation of a page's noise, of 1."""
BOLD = Distortion(size=(0.6, 0.95), stroke=(0.16, 0.30))
"""Strokes of some pixels: thin ones are narrower than a patch."""
_CHUNK = 64  # pages drawn from one random stream


def render_pages(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` pages, each of up to four distorted characters anywhere, cut off at the edge.

    A pure function of its arguments; the first n pages are the same for every count >= n. As many
    digits as letters on average. A pixel is of a character if its centre lies in the stroke.

    Returns:
      Pages, uint8 (count, SIDE, SIDE, 1), bright on dark, and masks, uint8 (count, SIDE, SIDE),
      indices of NAMES.

    Raises:
      UserError: if count is not positive.

    >>> pages, masks = render_pages(2, seed=1)
    >>> pages.shape, masks.shape, int(masks.max())
    ((2, 48, 48, 1), (2, 48, 48), 2)
    """
    if count < 1:
        raise UserError(f'pages: the number of pages must be positive, not {count}')
    chunks = [_chunk(np.random.default_rng((seed, n))) for n in range(-(-count // _CHUNK))]
    pages, masks = (np.concatenate(parts)[:count] for parts in zip(*chunks, strict=True))
    return pages[..., None], masks


def _chunk(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pages and masks, uint8 (_CHUNK, SIDE, SIDE)."""
    fields, widths, labels = glyph_atlas()
    digit = np.array([name.isdigit() for name in CLASS_NAMES])[labels]
    n = _CHUNK * CELLS * CELLS
    kind = rng.integers(0, 2, n).astype(bool)
    pick = np.where(
        kind, rng.choice(np.flatnonzero(digit), n), rng.choice(np.flatnonzero(~digit), n)
    )
    distance, ink, softness, _ = drawn_shapes(rng, fields, widths, pick, CANVAS, BOLD)
    there = rng.random(n) < _THERE
    image = np.where(there[:, None, None], inked(distance, ink, softness), 0)
    inside = there[:, None, None] & (distance > 0)
    mask = np.where(inside, np.where(kind, 1, 2)[:, None, None], 0).astype(np.uint8)
    image, mask = _laid_out(image), _laid_out(mask)
    # No place of a page is special: what goes over one edge comes in at the other.
    moves = rng.integers(0, SIDE, (_CHUNK, 2))
    image, mask = (
        np.stack([np.roll(page, move, (0, 1)) for page, move in zip(pages, moves, strict=True)])
        for pages in (image, mask)
    )
    deviation = rng.uniform(*_NOISE, _CHUNK)[:, None, None]
    return as_bytes(image + deviation * rng.standard_normal(image.shape)), mask


def _laid_out(cells: np.ndarray) -> np.ndarray:
    """(pages x places, CANVAS, CANVAS) -> (pages, SIDE, SIDE)."""
    pages = cells.reshape(-1, CELLS, CELLS, CANVAS, CANVAS)
    return pages.transpose(0, 1, 3, 2, 4).reshape(-1, SIDE, SIDE)
