"""The size and channels that images are brought to before they enter a network."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.errors import UserError, check_name
from ftjax.preprocessing.images import before_crop

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing

FILTERS = ('nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """What decoded images look like; sizes in pixels.

    The shorter side is resized to size / crop_fraction, rounded down, then the centre is cut out:
    the rounding follows torchvision's Resize and CenterCrop.
    """

    height: int
    width: int
    channels: int
    interpolation: str = 'bilinear'
    crop_fraction: float = 1.0
    window: tuple[float, float] | None = None
    """Centre and width of what DICOM files show; None for the file's own."""
    squash: bool = False
    """Resize both sides to size / crop_fraction, whatever the aspect ratio."""
    grey: bool = False
    """Read images in grey (data.channels=1), whatever the channels of the result."""

    def __post_init__(self):
        check_name(self.interpolation, FILTERS, 'interpolation')

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def crops(self) -> bool:
        """Whether an image of this very size is resized and cropped."""
        sides = (self.height, self.width)
        return any(before_crop(side, self.crop_fraction) != side for side in sides)

    def matched(self, images: np.ndarray) -> np.ndarray:
        """Images (.., channels) with the channels of these."""
        return match_channels(match_channels(images, 1) if self.grey else images, self.channels)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Size before the crop of an image of this size."""
        sides = self.height, self.width
        target = [before_crop(side, self.crop_fraction) for side in sides]
        if self.squash:
            return target[0], target[1]
        if target[0] / height >= target[1] / width:
            return target[0], max(self.width, int(target[0] * width / height))
        return max(self.height, int(target[1] * height / width)), target[1]


def match_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Grey repeated to RGB, or RGB weighed to grey (ITU-R 601-2 luma, as Pillow rounds it).

    >>> match_channels(np.full((1, 2, 2, 1), 7, np.uint8), 3).shape
    (1, 2, 2, 3)
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1:
        return np.repeat(images, channels, axis=-1)
    if have == 3 and channels == 1:
        if images.dtype == np.uint8:
            luma = images.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32)
            return ((luma + 0x8000) >> 16).astype(np.uint8)[..., None]
        return (images @ np.array([0.299, 0.587, 0.114], images.dtype))[..., None]
    raise UserError(f'images have {have} channels and the network takes {channels}')


def geometry_for(
    dataset: Any, image_size: tuple[int, int] | None, preprocessing: Preprocessing | None
) -> Geometry:
    """How a data set's images are to look: the size asked for, else the network's, else their own.

    Raises:
      UserError: for image files without any size to bring them to.
    """
    size = image_size or (preprocessing.image_size if preprocessing else ())
    own = dataset.inputs.shape[1:] if dataset.kind == 'image' else ()
    if not size and not own:
        raise UserError(f'{dataset.name}: image files differ in size; set data.image_size')
    height, width = size or own[:2]
    channels = own[2] if own else dataset.channels or 3
    if preprocessing is None:
        return Geometry(height=height, width=width, channels=channels)
    return Geometry(
        height=height,
        width=width,
        channels=preprocessing.channels,
        grey=dataset.channels == 1,
        interpolation=preprocessing.interpolation,
        crop_fraction=preprocessing.crop_fraction,
        squash=preprocessing.resize == 'squash',
        window=preprocessing.window,
    )
