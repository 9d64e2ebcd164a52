"""What each image of a data set looks like: size, mode, brightness, sharpness, whether it opens.

Sharpness is the variance of the Laplacian over that of the picture, at 256 pixels of the longer
side. Source: J. Pech-Pacheco et al. (2000), Diatom autofocusing in brightfield microscopy.
"""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import opened
from ftjax.data.images.modes import Whites, flatten
from ftjax.data.images.thumbnails import thumbnail
from ftjax.errors import UserError

SIDE = 256
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class ImageLook:
    """One image; `broken` says why it cannot be read, and the rest is then 0."""

    broken: str = ''
    width: int = 0
    height: int = 0
    mode: str = ''
    turned: bool = False
    """Whether EXIF says that it is to be turned or mirrored."""
    brightness: float = 0.0
    """Mean of 0..255."""
    contrast: float = 0.0
    """Standard deviation, of 0..255."""
    sharpness: float = 0.0


def image_looks(dataset: Dataset) -> list[ImageLook] | None:
    """One of each image; None for what are no images. A broken file is no error here."""
    if dataset.kind == 'image_file':
        with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
            return [*pool.map(lambda path: _of_file(path, dataset.whites), dataset.inputs)]
    if dataset.kind != 'image':
        return None
    scale = 1 if dataset.inputs.dtype == np.uint8 else 255
    modes = {1: 'L', 3: 'RGB'}
    height, width, channels = dataset.inputs.shape[1:]
    mode = modes.get(channels, f'{channels} channels')
    return [
        ImageLook('', width, height, mode, False, *measured(image.mean(axis=-1) * scale))
        for image in dataset.inputs
    ]


def measured(grey: np.ndarray) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness of a grey picture (H, W) in 0..255."""
    grey = grey.astype(np.float32)
    spread = float(grey.std())
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    edges = around - 4 * inner
    sharp = float(edges.var() / max(spread**2, 1.0)) if edges.size else 0.0
    return float(grey.mean()), spread, sharp


def _of_file(path: str, whites: Whites | None = None) -> ImageLook:
    from PIL import Image

    try:
        thumbnail(path)  # all of its bytes
        with opened(path, path) as image:
            width, height = image.size
            mode, turned = image.mode, _turned(image)
            image.draft('L', (SIDE, SIDE))
            image.load()
            grey = flatten(image, 1, whites or Whites(), path)  # as a network sees it
            grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
            pixels = np.asarray(grey, np.float32)
    except UserError as error:
        return ImageLook(broken=str(error))
    return ImageLook('', width, height, mode, turned, *measured(pixels))


def _turned(image: object) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) not in (0, 1)  # pyrefly: ignore
    except Exception:  # a camera's broken EXIF does not spoil the picture
        return False


def outlying(values: np.ndarray, below: float) -> np.ndarray:
    """Which logarithms lie more than `below` robust standard deviations under their median."""
    logs = np.log(np.maximum(values, 1e-9))
    middle = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - middle))
    return logs < middle - below * max(spread, 0.1)
