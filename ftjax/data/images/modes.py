"""Pixels of every mode that a file may have, as 8 bits: what counts as white, and transparency."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ftjax.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that a camera, a scanner or a microscope uses of a pixel of 16 or 32 bits."""
WHOLE, REAL, UPPER = 'whole', 'real', 'upper'
"""Kinds of deep pixels: whole numbers, floats, and 16 bits a channel that Pillow reads 8 of."""


@dataclasses.dataclass(frozen=True)
class Whites:
    """The values that are white in images of more than 8 bits a pixel.

    None: decided by the range of each file by itself. A data set decides it once for all of
    its files (ftjax/data/images/verify.py), so that a dark picture stays darker than a bright one.
    """

    whole: int | None = None
    """Of pixels that are whole numbers: 255, 1023, 4095, 16383 or 65535."""
    real: float | None = None
    """Of pixels that are floats: 1, or one of those above."""


def white_of_whole(top: float) -> int | None:
    """The largest value of the fewest of DEPTHS that hold `top`; None if none does.

    >>> white_of_whole(4080), white_of_whole(70_000)
    (4095, None)
    """
    return next((2**bits - 1 for bits in DEPTHS if top <= 2**bits - 1), None)


def white_of_real(top: float) -> float | None:
    """1 where no float is larger, else as for whole numbers.

    >>> white_of_real(0.98), white_of_real(254.0)
    (1.0, 255.0)
    """
    white = 1 if top <= 1 else white_of_whole(top)
    return None if white is None else float(white)


def deep_kind(image: Image.Image) -> str:
    """WHOLE, REAL, UPPER, or '' for an image of 8 bits; asked before its pixels are loaded."""
    if image.mode == 'F':
        return REAL
    if image.mode.startswith('I'):
        return WHOLE
    rawmodes = [str(part) for tile in image.tile for part in np.atleast_1d(tile[3])]  # pyrefly: ignore
    return UPPER if any(';16' in rawmode for rawmode in rawmodes) else ''


def largest(image: Image.Image, name: str) -> float:
    """The largest value of a deep image.

    Raises:
      UserError: pixels that are no numbers, below 0, or beyond 16 bits.
    """
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise UserError(
            f'{name}: holds pixels that are no finite numbers (NaN or infinity); replace them, '
            'or remove the file'
        )
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise UserError(
            f'{name}: pixels are in {low:g} .. {high:g}; expected 0 .. 65535, or floats in '
            '0 .. 1: convert the file to 8 bits'
        )
    return float(high)


def to_eight_bits(image: Image.Image, whites: Whites, name: str) -> Image.Image:
    """A grey image of whole numbers or floats as mode L; 8 bits are the upper ones of white's.

    Raises:
      UserError: pixels that are no numbers, below 0, or above white.
    """
    from PIL import Image

    top, real = largest(image, name), image.mode == 'F'
    white = (whites.real or white_of_real(top)) if real else (whites.whole or white_of_whole(top))
    if white is None or top > white:
        raise UserError(
            f'{name}: has a pixel of {top:g}, and {white:g} was the white of its data set when '
            'that was read; was the file changed?'
        )
    if white == 255:
        return image.convert('L') if real else _grey(np.asarray(image))
    values = np.asarray(image)
    if real:
        return _grey(np.rint(values * (255 / white)))
    clear = image.info.get('transparency')
    shown = values.astype(np.int64) >> (int(white).bit_length() - 8)
    if isinstance(clear, int):  # one value of a PNG's is transparent: white, as all of them
        shown = np.where(values == clear, 255, shown)
    return Image.fromarray(shown.astype(np.uint8))


def flatten(image: Image.Image, channels: int, whites: Whites, name: str) -> Image.Image:
    """To mode L or RGB; transparency becomes white."""
    from PIL import Image

    if image.mode == 'F' or image.mode.startswith('I'):
        image = to_eight_bits(image, whites, name)
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        above = image.convert('RGBA')
        white = Image.new('RGBA', above.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, above)
    return image.convert('L' if channels == 1 else 'RGB')


def _grey(values: object) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.asarray(values).astype(np.uint8))
