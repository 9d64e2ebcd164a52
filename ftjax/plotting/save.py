"""matplotlib figures as files that are whole, and the same bytes each time."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import numpy as np

from ftjax.io.files.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 0.5
"""Of 255 levels. Figures of lines and text are below .4: single pixels of an edge differ."""


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 160) -> None:
    """Writes a figure in the format of the path's ending, whole or not at all."""
    write_bytes(path, figure_bytes(figure, os.fspath(path).rsplit('.', 1)[-1], dpi))


def figure_bytes(figure: Figure, file_format: str = 'png', dpi: int = 160) -> bytes:
    """A figure as a file's bytes; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    # Dates and random ids would make every redraw a change to commit.
    metadata = {'Date': None} if file_format == 'svg' else {}
    with matplotlib.rc_context({'svg.hashsalt': 'ftjax'}):
        # White behind the black text whatever matplotlibrc says: pages may be dark.
        figure.savefig(
            buffer,
            format=file_format,
            dpi=dpi,
            metadata=metadata,
            facecolor='white',
            transparent=False,
        )
    written = buffer.getvalue()
    return with_palette(written) if file_format == 'png' else written


def with_palette(png: bytes) -> bytes:
    """A PNG of lines and text with a palette of 256 colours, a third of its size.

    A picture of many colours, one that holds photographs, say, is returned as it is: where
    channels differ by more than `TOLERANCE` levels on average.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert('RGB')
    few = image.quantize(256, dither=Image.Dither.NONE)
    difference = np.asarray(image, np.int16) - np.asarray(few.convert('RGB'), np.int16)
    if np.abs(difference).mean() > TOLERANCE:
        return png
    buffer = io.BytesIO()
    few.save(buffer, 'PNG', optimize=True)
    return min(png, buffer.getvalue(), key=len)
