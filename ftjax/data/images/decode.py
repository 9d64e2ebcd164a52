"""Image files and arrays to uint8 arrays of one size: decode, resize antialiased, crop."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.images.dicom import Window, dicom_image, is_dicom
from ftjax.data.images.geometry import Geometry
from ftjax.data.images.modes import Whites, flatten
from ftjax.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (
    *('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.ppm', '.pgm'),
    # Other names of the same formats: browsers on Windows write .jfif.
    *('.jfif', '.jpe', '.pjpeg', '.pjp', '.apng', '.dib', '.pbm', '.pnm', '.avif'),
    *('.dcm', '.dicom'),
)
FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'GIF', 'TIFF', 'PPM', 'DIB', 'AVIF')
MAX_PIXELS = 89_478_485
"""Larger images are refused: a small file can unpack to gigabytes. Pillow's own limit."""


def decode(
    source: str | bytes,
    geometry: Geometry | None,
    channels: int = 3,
    name: str = '',
    whites: Whites | None = None,
    window: Window | None = None,
) -> np.ndarray:
    """Reads one image as uint8 (height, width, channels); EXIF orientation is applied.

    Of an animation, or a file of many pages, it is the first picture.

    Args:
      source: a path, or the file's bytes.
      geometry: size and channels of the result; None for the image's own size.
      channels: 1 or 3, where geometry is None.
      name: what to call it in messages; the path if empty.
      whites: what is white in images of more than 8 bits; None to go by the file's own range.
      window: what DICOM files show, where geometry is None.

    Raises:
      UserError: naming the file, if it is missing, broken, cut short or too large.
    """
    name = name or str(source if isinstance(source, str) else 'image')
    if geometry:
        channels = 1 if geometry.grey else geometry.channels
    with opened(source, name, geometry.window if geometry else window) as image:
        size, box = image.size, None
        if geometry and image.format in ('JPEG', 'MPO'):
            # A JPEG unpacks at 1/2, 1/4 or 1/8 for less work; at least twice the target
            # is kept, so that the filter below and not the unpacking decides the pixels.
            width, height = _target(size, geometry, turn_of(image))
            drafted = image.draft('L' if channels == 1 else 'RGB', (2 * width, 2 * height))
            box = drafted[1] if drafted else None
        image.load()
        size = size if box else image.size
        turn = turn_of(image)
        if geometry:
            check_pixels(_target(size, geometry, turn), name, 'resized to cover its target')
        flat = flatten(image, channels, whites or Whites(), name)
        if geometry:
            return geometry.matched(_fit(flat, geometry, size, turn, box))
        return _array(flat if turn is None else flat.transpose(turn))


@contextlib.contextmanager
def opened(source: str | bytes, name: str, window: Window | None = None) -> Iterator[Image.Image]:
    """An image with its header read and its pixels not yet; errors name the file.

    `window` is of DICOM files, which are read whole.

    Raises:
      UserError: naming the file, if it is missing, broken, cut short, empty or too large.
    """
    from PIL import Image

    Image.init()  # else a format that Pillow has not met yet is unknown to it
    formats = [known for known in FORMATS if known in Image.OPEN]
    try:
        # Never by its path: Pillow would map an uncompressed TIFF into memory under the size
        # that it has when turned, and give its pixels in the wrong order.
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, 'rb') as file:
            head = file.read(132)
            file.seek(0)
            if is_dicom(head):
                image = dicom_image(file.read(), name, window)
                check_pixels(image.size, name)
                yield image
                return
            with Image.open(file, formats=formats) as image:
                check_pixels(image.size, name)
                yield image
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f'{name}: more than {MAX_PIXELS:,} pixels; make it smaller') from error
    except FileNotFoundError as error:
        raise UserError(f'{name}: no such image file') from error
    except Image.UnidentifiedImageError as error:
        empty = not (source if isinstance(source, bytes) else Path(source).stat().st_size)
        why = 'the file is empty' if empty else f'no header of {", ".join(FORMATS)}'
        raise UserError(f'{name}: broken image ({why}); replace or remove the file') from error
    except Exception as error:  # Pillow's decoders raise many types on broken bytes
        raise UserError(
            f'{name}: broken image ({_reason(error)}); replace or remove the file'
        ) from error


def upright_size(source: str | bytes, name: str = '') -> tuple[int, int]:
    """(height, width) of an image as `decode` gives it, from its header; arguments as there.

    Raises:
      UserError: as `opened`.
    """
    from PIL import Image

    t = Image.Transpose
    with opened(source, name or str(source if isinstance(source, str) else 'image')) as image:
        lying = turn_of(image) in (t.TRANSPOSE, t.TRANSVERSE, t.ROTATE_90, t.ROTATE_270)
        width, height = image.size
        # Pillow turns a TIFF by itself: its size is that of the picture when it is upright.
        return (width, height) if lying and image.format != 'TIFF' else (height, width)


def resize_array(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """An image in memory, uint8 or float32 (H, W, C), resized and cropped; dtype is kept.

    That of the network's own size is cropped too where the network has a crop, as a file of the
    same pixels is.
    """
    from PIL import Image

    image = geometry.matched(image)
    if image.shape == geometry.shape and not geometry.crops:
        return image
    if image.dtype == np.uint8 and image.shape[-1] in (1, 3):
        return _fit(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), geometry)
    mode = 'L' if image.dtype == np.uint8 else 'F'
    planes = [Image.fromarray(np.ascontiguousarray(p), mode) for p in np.moveaxis(image, -1, 0)]
    fitted = np.concatenate([_fit(plane, geometry) for plane in planes], axis=-1)
    return fitted if mode == 'L' else np.clip(fitted, 0, 1)  # bicubic overshoots


def _fit(
    image: Image.Image,
    geometry: Geometry,
    size: tuple[int, int] | None = None,
    turn: Image.Transpose | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Resizes, turns upright, crops.

    `size` is (width, height) of the file's image and `box` the part of `image` that it fills:
    unpacked at 1/8, a side of 900 becomes 113 pixels of which 112.5 are picture.
    """
    from PIL import Image

    target = _target(size or image.size, geometry, turn)
    if target != image.size or box not in (None, (0, 0, *image.size)):
        image = image.resize(target, Image.Resampling[geometry.interpolation.upper()], box=box)
    if turn is not None:
        image = image.transpose(turn)
    top = round((image.height - geometry.height) / 2)
    left = round((image.width - geometry.width) / 2)
    return _array(image.crop((left, top, left + geometry.width, top + geometry.height)))


def _target(
    size: tuple[int, int], geometry: Geometry, turn: Image.Transpose | None
) -> tuple[int, int]:
    """(width, height) to resize to, before the image is turned and cropped."""
    from PIL import Image

    t = Image.Transpose
    lying = turn in (t.TRANSPOSE, t.TRANSVERSE, t.ROTATE_90, t.ROTATE_270)
    height, width = geometry.resized(*(size if lying else size[::-1]))
    return (height, width) if lying else (width, height)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns an image upright, by its EXIF orientation (tag 0x0112); None for nothing."""
    from PIL import Image

    t = Image.Transpose
    turns = (t.FLIP_LEFT_RIGHT, t.ROTATE_180, t.FLIP_TOP_BOTTOM, t.TRANSPOSE)
    turns += (t.ROTATE_270, t.TRANSVERSE, t.ROTATE_90)
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a camera's broken EXIF does not spoil the picture
        return None
    return dict(enumerate(turns, 2)).get(orientation)


def _array(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def check_pixels(size: tuple[int, int], name: str, when: str = '') -> None:
    """UserError for an image without pixels, or with too many."""
    if min(size) < 1:
        raise UserError(f'{name}: {size[0]} x {size[1]} pixels; an image needs at least one')
    if math.prod(size) > MAX_PIXELS:
        what = f'{size[0]} x {size[1]}' + (f', {when},' if when else '')
        raise UserError(f'{name}: {what} is more than {MAX_PIXELS:,} pixels; make it smaller')


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip('.')[:100]
