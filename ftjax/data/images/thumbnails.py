"""Image files at 32 x 32 pixels, kept while the process lives: to check a file, and to compare it.

The check of all files before a run unpacks them anyway; what it unpacked is compared by the audit.
"""

from __future__ import annotations

import numpy as np

from ftjax.data.images.decode import decode
from ftjax.data.images.geometry import Geometry
from ftjax.io.files.file_hashes import State, file_state

SIDE = 32
# Small on purpose: most JPEGs are then unpacked at 1/4 or 1/8, which still reads all their bytes.
_GEOMETRY = Geometry(height=SIDE, width=SIDE, channels=3, interpolation='box', squash=True)
_MOST = 20_000
"""Thumbnails that are kept, of 3 KiB each."""
_KNOWN: dict[State, np.ndarray] = {}


def thumbnail(path: str) -> np.ndarray:
    """The whole image, uint8 (32, 32, 3), whatever its aspect ratio; upright. Safe from threads.

    Raises:
      UserError: naming the file, if it is missing, broken or cut short.
    """
    state = file_state(path)
    found = _KNOWN.get(state)
    if found is None:
        found = decode(path, _GEOMETRY)
        if len(_KNOWN) < _MOST:
            _KNOWN[state] = found
    return found


def known(path: str) -> bool:
    """Whether the file is unpacked already."""
    return file_state(path) in _KNOWN
