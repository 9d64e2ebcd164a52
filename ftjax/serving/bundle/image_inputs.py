"""Image files and arrays as a program takes them: whole, or by windows that slide over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.images.decode import (
    MAX_PIXELS,
    check_pixels,
    decode,
    opened,
    resize_array,
    upright_size,
)
from ftjax.data.images.geometry import Geometry
from ftjax.data.images.modes import Whites
from ftjax.data.masks.tiles import corners, cut, in_own_size
from ftjax.errors import UserError, shown
from ftjax.serving.bundle.answer_forms.mask_answers import SizeOfImage
from ftjax.serving.bundle.input_rows import Example, InputRows

_NAME = 'the image'  # for messages


class ImageReader:
    """Image files as bytes or paths, or uint8 arrays (H, W[, C]), at the network's size."""

    def __init__(
        self,
        geometry: Geometry,
        dtype: str,
        whites: Whites | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self.geometry, self.dtype, self.whites = geometry, dtype, whites
        self.max_pixels = max_pixels

    def rows(self, raw: Any) -> InputRows:
        return InputRows((self.read(raw),))

    def read(self, raw: Any) -> Example:
        """The image at the network's size; UserError for what is none."""
        self.check(raw)
        if isinstance(raw, (bytes, str)):
            return self.made(decode(raw, self.geometry, name=_NAME, whites=self.whites))
        return self.made(resize_array(self.in_memory(raw), self.geometry))

    def check(self, raw: Any) -> None:
        """UserError for what is no image, or is too large, before it is unpacked."""
        if isinstance(raw, (bytes, str)):
            with opened(raw, _NAME) as image:  # its header alone
                self._check_size(image.size)
            return
        pixels = np.asarray(raw)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise UserError(
                f'the image is {pixels.dtype} {shown(pixels.shape)}; expected uint8 (height, '
                'width) or (height, width, channels)'
            )
        check_pixels(pixels.shape[1::-1], _NAME)
        self._check_size(pixels.shape[1::-1])

    def in_memory(self, raw: Any) -> np.ndarray:
        """An array with an axis of channels."""
        pixels = np.asarray(raw)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def made(self, pixels: np.ndarray) -> Example:
        """Pixels as the program takes them."""
        if self.dtype == 'float32':  # of a run whose data were not whole numbers
            pixels = pixels.astype(np.float32) / 255
        return {'images': pixels}

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        return {'images': np.stack([each['images'] for each in examples])}

    def _check_size(self, size: tuple[int, int]) -> None:
        if size[0] * size[1] > self.max_pixels:
            raise UserError(
                f'the image has {size[0]} x {size[1]} pixels; at most {self.max_pixels:,} are taken'
            )


class PixelReader(ImageReader):
    """As `ImageReader`, for answers of each pixel: `about` is a `SizeOfImage`."""

    def rows(self, raw: Any) -> InputRows:
        row = self.read(raw)
        return InputRows((row,), SizeOfImage(self.size_of(raw)))

    def size_of(self, raw: Any) -> tuple[int, int]:
        """(height, width) of an image as it came, upright."""
        if isinstance(raw, (bytes, str)):
            return upright_size(raw, _NAME)
        height, width = np.shape(raw)[:2]
        return height, width


class WindowReader(PixelReader):
    """Images in their own size, a row for each window; `overlap` as of data.sliding."""

    def __init__(self, *given: Any, overlap: float):
        super().__init__(*given)
        self.overlap = overlap

    def rows(self, raw: Any) -> InputRows:
        self.check(raw)
        image = raw if isinstance(raw, (bytes, str)) else self.in_memory(raw)
        geometry, window = self.geometry, (self.geometry.height, self.geometry.width)
        how = geometry.channels, geometry.grey, self.whites, _NAME, geometry.window
        pixels = in_own_size(image, *how)
        size = pixels.shape[0], pixels.shape[1]
        places = corners(size, window, self.overlap)
        cuts = (self.made(cut(pixels, corner, window)) for corner in places)
        return InputRows(tuple(cuts), SizeOfImage(size, tuple(places), window))
