"""Pictures that Pillow holds, as a file with the same content would be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.data.images.decode import turn_of
from ftjax.data.images.modes import Whites, flatten


def of_pillow(item: object) -> np.ndarray | None:
    """A picture as an array (H, W) or (H, W, 3); None for what is no picture of Pillow's.

    Palettes become colours, transparency white, and EXIF orientation is applied, as `decode` does.
    Pixels of more than 8 bits stay as they are, as those of an array.
    """
    from PIL import Image

    if not isinstance(item, Image.Image):
        return None
    picture: Any = item
    picture.load()
    turn = turn_of(picture)  # once it is loaded: Pillow turns a TIFF by itself
    if picture.mode != 'F' and not picture.mode.startswith('I'):
        grey = picture.mode in ('1', 'L', 'LA', 'La')
        picture = flatten(picture, 1 if grey else 3, Whites(), 'a picture')
    return np.asarray(picture if turn is None else picture.transpose(turn))
