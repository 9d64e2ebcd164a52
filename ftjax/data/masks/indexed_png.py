"""Masks as indexed PNG files, which `masks:` reads back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import UInt8


def indexed_png(
    mask: UInt8[np.ndarray, 'rows columns'], table: UInt8[np.ndarray, 'classes 3']
) -> bytes:
    """A file whose values are class indices and whose colours are those of the table."""
    from PIL import Image

    made, image = io.BytesIO(), Image.fromarray(mask)  # of bytes: mode L
    image.putpalette(table.reshape(-1).tolist())
    image.save(made, 'png')
    return made.getvalue()
