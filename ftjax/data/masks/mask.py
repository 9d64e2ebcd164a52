"""The mask of one example: pixels in memory, or a file that is read when it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.images.decode import opened, turn_of
from ftjax.data.masks.mask_values import MaskValues
from ftjax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from PIL import Image


class Mask:
    """uint8 (rows, columns): the class of each pixel, NOT_COUNTED where it counts for nothing."""

    def read(self) -> UInt8[np.ndarray, 'rows columns']:
        """The pixels."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.read(), other.read())

    __hash__ = None  # pyrefly: ignore


@dataclasses.dataclass(frozen=True, eq=False)
class MaskPixels(Mask):
    """A mask in memory."""

    pixels: np.ndarray

    def read(self) -> UInt8[np.ndarray, 'rows columns']:
        """The pixels."""
        return self.pixels


@dataclasses.dataclass(frozen=True, eq=False)
class MaskFile(Mask):
    """A mask in a file."""

    path: str
    values: MaskValues

    def read(self) -> UInt8[np.ndarray, 'rows columns']:
        """Decodes the file.

        Raises:
          UserError: naming the file, if it is broken, in colour without a palette, or holds a
            value that is no class.
        """
        with opened(self.path, self.path) as image:
            return classes_of(image, self.values, self.path)


def classes_of(image: Image.Image, values: MaskValues, where: str) -> np.ndarray:
    """The classes in an opened image: indexed and grey ones by value, RGB by palette."""
    if image.format == 'JPEG':
        raise UserError(f'{where}: a JPEG changes values; masks are PNG files, indexed or grey')
    image.load()
    turn = turn_of(image)  # once it is loaded: Pillow turns a TIFF by itself
    if turn is not None:  # as its image is turned
        image = image.transpose(turn)
    if image.mode == 'P':
        _check_order(image, values, where)
    if image.mode in ('1', 'L', 'P'):
        return values.of_values(np.asarray(image).astype(np.uint8), where)
    if image.mode in ('RGB', 'RGBA') and values.palette:
        return values.of_colours(np.asarray(image.convert('RGB')), where)
    if image.mode in ('RGB', 'RGBA'):
        raise UserError(
            f'{where}: a mask in colour; set data.palette to the colour of each class, or save it '
            'indexed or grey, with the index of the class as value'
        )
    raise UserError(f'{where}: a mask of mode {image.mode}; expected 8 bits, indexed or grey')


def _check_order(image: Image.Image, values: MaskValues, where: str) -> None:
    """UserError where an indexed mask has the colours of the palette for other classes."""
    known = {colour.lower(): number for number, colour in enumerate(values.palette)}
    table = image.getpalette() if known else None
    if not table:
        return
    used = [int(value) for value in np.unique(np.asarray(image)) if value != values.ignored]
    told = {v: f'#{bytes(table[3 * v : 3 * v + 3]).hex()}' for v in used}
    if not all(colour in known for colour in told.values()):
        return  # a palette of its own: indices alone say what the pixels are
    meant = dict(zip(values.values, range(values.classes), strict=False))
    wrong = next((v for v in used if known[told[v]] != meant.get(v, known[told[v]])), None)
    if wrong is not None:
        raise UserError(
            f'{where}: the index {wrong} means class {meant[wrong]}, and its colour {told[wrong]} '
            f'is that of class {known[told[wrong]]} in data.palette; save the mask in RGB, or '
            'order data.palette as its indices'
        )


def highest_value(path: str, ignored: int | None) -> int:
    """The largest value of a mask file that is not the ignored one; -1 where there is none."""
    values = np.unique(MaskFile(path, MaskValues(256, None)).read())
    return int(max((value for value in values if value != ignored), default=-1))


def masks(given: Sequence[Mask]) -> np.ndarray:
    """An array of objects (N,), as the labels of a data set."""
    found = np.empty(len(given), object)
    found[:] = given
    return found


def nearest(
    pixels: UInt8[np.ndarray, 'rows columns'], size: tuple[int, int]
) -> UInt8[np.ndarray, 'height width']:
    """A mask at another (height, width): the value at each pixel's centre, as Pillow takes it.

    >>> nearest(np.array([[1, 2]], np.uint8), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    if pixels.shape == tuple(size):
        return pixels
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)  # in whole numbers: of a tie the second
        for old, new in zip(pixels.shape, size, strict=True)
    )
    return pixels[rows][:, columns]
