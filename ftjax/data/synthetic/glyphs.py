"""Printed characters under strong distortion: the data the shipped network is pretrained on.

The outlines come from the TrueType fonts that matplotlib carries, so there is nothing to
download and no handwriting in them. Every character is kept as a signed distance field;
an image samples it on a warped grid, which makes stroke width and blur plain arithmetic and
makes it possible to draw thousands of images at once.
"""

from __future__ import annotations

import dataclasses
import functools
import string
from pathlib import Path
from typing import Any

import numpy as np

from ftjax.errors import UserError

CANVAS = 24
"""Side of the images in pixels; scattered digits use the same."""

FONTS = (
    *('DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique', 'DejaVuSans-BoldOblique'),
    *('DejaVuSerif', 'DejaVuSerif-Bold', 'DejaVuSerif-Italic', 'DejaVuSerif-BoldItalic'),
    *('DejaVuSansMono', 'DejaVuSansMono-Bold', 'DejaVuSansMono-Oblique'),
    *('STIXGeneral', 'STIXGeneralBol', 'STIXGeneralItalic', 'STIXGeneralBolIta'),
    *('cmr10', 'cmss10', 'cmtt10', 'cmb10', 'cmmi10'),
)

# Images carry no baseline and no common size, so a letter whose two cases differ only in
# those is one class, named by its upper case.
SAME_SHAPE = 'ckopsuvwxz'
CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
CLASS_NAMES = tuple(c for c in CHARACTERS if c not in SAME_SHAPE)

_GRID = 64  # side of a distance field
_REACH = 1.6  # the field covers [-_REACH, _REACH]; the character's longer side spans [-1, 1]
_CHUNK = 2048  # images drawn from one random stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distortion:
    """Ranges an image's distortion is drawn from, uniformly unless it says otherwise."""

    size: tuple[float, float] = (0.42, 0.90)
    """Longer side of the character, as a share of the canvas."""
    angle: float = 30.0
    """Largest rotation, degrees."""
    shear: float = 0.35
    """Largest slant, as a slope."""
    stretch: float = 0.30
    """Largest log ratio of width to height."""
    warp: float = 0.16
    """Standard deviation of the elastic displacement, in half sizes of the character."""
    stroke: tuple[float, float] = (0.08, 0.24)
    """Half the stroke's width, in half sizes of the character."""
    blur: tuple[float, float] = (0.3, 1.2)
    """Width of a stroke's soft edge, pixels."""
    ink: tuple[float, float] = (0.55, 1.0)
    """Brightness of the stroke, of 1."""
    noise: tuple[float, float] = (0.0, 0.20)
    """Standard deviation of the Gaussian pixel noise, of 1."""


def render_glyphs(
    count: int, seed: int = 0, size: int = CANVAS, distortion: Distortion | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` distorted characters, bright on dark, classes in equal shares on average.

    A pure function of its arguments; the first n images are the same for every count >= n.

    Args:
      count: number of images.
      seed: which images; any int >= 0.
      size: side of the canvas in pixels.
      distortion: ranges to draw from; None for the default.

    Returns:
      Images, uint8 (count, size, size, 1), and labels, int32 (count,), indices of CLASS_NAMES.

    Raises:
      UserError: if count is not positive.

    >>> images, labels = render_glyphs(8, seed=1)
    >>> images.shape, images.dtype.name, labels.dtype.name
    ((8, 24, 24, 1), 'uint8', 'int32')
    """
    if count < 1:
        raise UserError(f'glyphs: the number of images must be positive, not {count}')
    fields, widths, labels = glyph_atlas()
    images = np.empty((count, size, size, 1), np.uint8)
    classes = np.empty(count, np.int32)
    for chunk, start in enumerate(range(0, count, _CHUNK)):
        rng = np.random.default_rng((seed, chunk))
        pick = _pick(rng, labels)
        drawn = _draw(rng, fields, widths, pick, size, distortion or Distortion())
        stop = min(start + _CHUNK, count)
        images[start:stop, :, :, 0] = drawn[: stop - start]
        classes[start:stop] = labels[pick[: stop - start]]
    return images, classes


def _pick(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Indices of a chunk's glyphs: first a class, then one of its glyphs, both uniformly."""
    order = np.argsort(labels, kind='stable')
    count = np.bincount(labels)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    classes = rng.integers(0, len(count), _CHUNK)
    within = (rng.random(_CHUNK) * count[classes]).astype(np.int64)
    return order[first[classes] + within]


def _draw(
    rng: np.random.Generator,
    fields: np.ndarray,
    widths: np.ndarray,
    pick: np.ndarray,
    size: int,
    d: Distortion,
) -> np.ndarray:
    """One chunk of images, uint8 (_CHUNK, size, size)."""
    distance, ink, softness, noise = drawn_shapes(rng, fields, widths, pick, size, d)
    image = inked(distance, ink, softness)
    image += noise[:, None, None] * rng.standard_normal(image.shape, np.float32)
    return as_bytes(image)


def drawn_shapes(
    rng: np.random.Generator,
    fields: np.ndarray,
    widths: np.ndarray,
    pick: np.ndarray,
    size: int,
    d: Distortion,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distorted characters before they are inked.

    Returns:
      Distances to the stroke's edge (n, size, size), above 0 inside it, in half sizes of the
      character; brightness of the stroke (n,); width of its soft edge (n,), in half sizes;
      standard deviation of the noise (n,).
    """
    n = len(pick)
    half = size * rng.uniform(*d.size, n) / 2  # half the character's longer side, pixels
    angle = np.deg2rad(rng.uniform(-d.angle, d.angle, n))
    shear = rng.uniform(-d.shear, d.shear, n)
    stretch = np.exp(rng.uniform(-d.stretch, d.stretch, n) / 2)
    place = rng.uniform(-1, 1, (n, 2)) * (size / 2 - half)[:, None]
    stroke, blur = rng.uniform(*d.stroke, n), rng.uniform(*d.blur, n)
    ink, noise = rng.uniform(*d.ink, n), rng.uniform(*d.noise, n)

    # Canvas pixel -> coordinates of the character: the inverse of place, turn, slant, stretch.
    axis = np.arange(size) + 0.5 - size / 2
    x = (axis[None, None, :] - place[:, 0, None, None]) / half[:, None, None]
    y = (axis[None, :, None] - place[:, 1, None, None]) / half[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v = cos * x + sin * y, cos * y - sin * x
    u = u + shear[:, None, None] * v
    u, v = u / stretch[:, None, None], v * stretch[:, None, None]
    u, v = (w + shift for w, shift in zip((u, v), _warp(rng, n, size, d.warp), strict=True))

    distance = _sample(fields, pick, u, v) + (stroke - widths[pick])[:, None, None]
    return distance, ink, blur / half, noise


def inked(distance: np.ndarray, ink: np.ndarray, softness: np.ndarray) -> np.ndarray:
    """Brightness (n, size, size) of strokes, from what `drawn_shapes` gives."""
    with np.errstate(over='ignore'):  # far outside the stroke exp overflows to a brightness of 0
        return ink[:, None, None] / (1 + np.exp(-4 * distance / softness[:, None, None]))


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Brightness of 0 to 1, what lies beyond cut off, as uint8."""
    return (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)


def _warp(rng: np.random.Generator, n: int, size: int, scale: float) -> np.ndarray:
    """Smooth random displacements of both axes, (2, n, size, size): a 4x4 grid, interpolated."""
    knots = rng.standard_normal((2, n, 4, 4), np.float32) * scale
    at = np.linspace(0, 3, size)
    weight = np.clip(1 - np.abs(at[:, None] - np.arange(4)), 0, 1).astype(np.float32)
    return np.einsum('hi,anij,wj->anhw', weight, knots, weight, optimize=True)


def _sample(fields: np.ndarray, pick: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Distance fields at points (u, v), bilinear; the border's value continues outside."""

    def cell(w):
        at = np.clip((w / _REACH + 1) / 2 * _GRID - 0.5, 0, _GRID - 1.001)
        low = at.astype(np.int32)
        return low, (at - low).astype(np.float32)

    (i, di), (j, dj) = cell(v), cell(u)
    flat = fields.reshape(-1)
    at = (pick[:, None, None] * _GRID + i) * _GRID + j
    top = flat[at] * (1 - dj) + flat[at + 1] * dj
    low = flat[at + _GRID] * (1 - dj) + flat[at + _GRID + 1] * dj
    return top * (1 - di) + low * di


@functools.cache
def glyph_atlas() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance fields float32 (G, _GRID, _GRID), their half stroke widths (G,), labels (G,).

    Distances are positive inside the stroke and in half sizes of the character.
    """
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    fields, widths, labels = [], [], []
    for name in FONTS:
        path = folder / f'{name}.ttf'
        if not path.is_file():
            raise UserError(f'glyphs: matplotlib carries no font {path}; install matplotlib >= 3.8')
        font = ImageFont.truetype(str(path), 160)
        for character in CHARACTERS:
            if name == 'cmmi10' and character in string.digits:
                continue  # old-style figures, smaller and lower: other shapes
            field, width = _distance_field(_bitmap(font, character))
            fields.append(field)
            widths.append(width)
            shown = character.upper() if character in SAME_SHAPE else character
            labels.append(CLASS_NAMES.index(shown))
    return np.stack(fields), np.array(widths, np.float32), np.array(labels, np.int32)


def _bitmap(font, character: str) -> np.ndarray:
    """The character as a bool array, centred, its longer side 1 / _REACH of the array's."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = font.getbbox(character)
    longer = max(right - left, bottom - top)
    side = int(np.ceil(longer * _REACH / 4)) * 4
    image = Image.new('L', (side, side))
    corner = ((side - right - left) / 2, (side - bottom - top) / 2)
    ImageDraw.Draw(image).text(corner, character, fill=255, font=font)
    return np.asarray(image) > 127


def _distance_field(inside: np.ndarray) -> tuple[np.ndarray, float]:
    """The signed distance to the outline on a _GRID x _GRID array, and half the stroke's width."""
    from scipy import ndimage

    # SciPy returns None only when the distances are not asked for; its types do not say so.
    depth: Any = ndimage.distance_transform_edt(inside)
    outside: Any = ndimage.distance_transform_edt(~inside)
    signed = depth - outside
    # The ridge of the depth is the stroke's middle; the thin strokes of a serif face decide,
    # so that thinning a stroke does not erase its hairlines.
    ridge = depth[(depth == ndimage.maximum_filter(depth, size=5)) & (depth > 1)]
    width = np.percentile(ridge, 30) if ridge.size else depth.max()
    unit = 2 * _REACH / inside.shape[0]
    field = ndimage.zoom(signed, _GRID / inside.shape[0], order=1, grid_mode=True, mode='nearest')
    return (field * unit).astype(np.float32), float(width * unit)
