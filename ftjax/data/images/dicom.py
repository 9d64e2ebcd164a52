"""DICOM files as 8-bit images: the window that makes their values visible, and its inversion.

pydicom reads them; it is optional (`pip install 'ftjax[dicom]'`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]
"""Centre and width, in the units of the values (Hounsfield units of a CT)."""
_MAGIC, _AT = b'DICM', 128


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as a DICOM file does: its first 132 bytes are enough."""
    return head[_AT : _AT + len(_MAGIC)] == _MAGIC


def dicom_image(data: bytes, name: str, window: Window | None = None) -> Image.Image:
    """The first picture of a DICOM file, mode L or RGB.

    Values are those after the modality's rescaling. Grey is mapped linearly from a window to
    0..255 (PS3.3 C.11.2.1.2): the one given, else the file's own first one, else its range. Where
    the file says MONOCHROME1, low values are bright.

    Raises:
      UserError: pydicom is not installed, or pixels that it cannot read.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut
    except ImportError:
        raise UserError(
            f"{name}: is a DICOM file, which pydicom reads; pip install 'ftjax[dicom]'"
        ) from None
    from PIL import Image

    found = pydicom.dcmread(io.BytesIO(data))
    pixels = found.pixel_array
    if int(found.get('NumberOfFrames') or 1) > 1:
        pixels = pixels[0]
    if int(found.get('SamplesPerPixel', 1)) > 1:
        if pixels.dtype != np.uint8 or found.PhotometricInterpretation != 'RGB':
            raise UserError(
                f'{name}: holds {found.PhotometricInterpretation} of {pixels.dtype}; expected '
                'grey, or RGB of 8 bits'
            )
        image = Image.fromarray(pixels)
    else:
        values = np.asarray(apply_modality_lut(pixels, found), np.float64)
        grey = windowed(values, window or _own_window(found))
        if found.get('PhotometricInterpretation') == 'MONOCHROME1':
            grey = 255 - grey
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    image.format = 'DICOM'
    image.tile = []  # pyrefly: ignore
    return image


def windowed(values: np.ndarray, window: Window | None) -> np.ndarray:
    """Values of a window as 0..255, float64; those outside it are cut off.

    >>> windowed(np.array([-200.0, 39.5, 300.0]), (40, 80)).tolist()
    [0.0, 127.5, 255.0]
    """
    if window is None:
        low, high = float(values.min()), float(values.max())
        return (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    centre, width = window
    return np.clip(((values - (centre - 0.5)) / (max(width, 1.001) - 1) + 0.5) * 255, 0, 255)


def _own_window(found: Any) -> Window | None:
    pair = [found.get('WindowCenter'), found.get('WindowWidth')]
    if any(value is None for value in pair):
        return None
    centre, width = (float(np.atleast_1d(value)[0]) for value in pair)  # pyrefly: ignore
    return centre, width
