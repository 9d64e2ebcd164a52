"""matplotlib figures as files that are whole, and the same bytes each time."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from ftjax.io.files.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
