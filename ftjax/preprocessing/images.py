"""What a network expects of its input images; it travels with the weights."""

from __future__ import annotations

import dataclasses
import operator
import os
import re
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, check_name, shown
from ftjax.io.json.json_values import (
    Either,
    Flag,
    Integer,
    JsonObject,
    Kind,
    ListOf,
    Null,
    Number,
    Table,
    Text,
    check,
    check_table,
    optional,
)
from ftjax.preprocessing.processor_defaults import class_of, with_defaults

# PIL's numbering, which Hugging Face's `resample` field uses.
RESAMPLE = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}
RESIZE_MODES = ('crop', 'squash')
_SIDE = Integer(1, 2**16)
_PER_CHANNEL = Number(-1e6, 1e6)
_DEVIATION = Number(0, 1e6, low_belongs=False)
_SCALE = Number(0, 1e6, low_belongs=False)
_SHARE = Number(0, 1, low_belongs=False)
_KINDS: dict[str, Kind] = {
    'mean': ListOf(_PER_CHANNEL, 1, 4096),
    'std': ListOf(_PER_CHANNEL, 1, 4096),
    'channels': Integer(1, 4096),
    'interpolation': Text(),
    'resize': Text(),
    'crop_fraction': _SHARE,
    'scale': _SCALE,
    'window': optional(ListOf(Number(-1e9, 1e9), 2, 2)),
}
# Of a preprocessor_config.json. Null means the class's own choice (processor_defaults.py).
_FLAG = optional(Flag())
_SAVED: dict[str, Kind] = {
    'do_resize': _FLAG,
    'do_center_crop': _FLAG,
    'do_rescale': _FLAG,
    'do_normalize': _FLAG,
    'resample': Either(Integer(0, 5), Text(tuple(RESAMPLE.values())), Null()),
    'crop_pct': optional(_SHARE),
    'image_processor_type': optional(Text()),
    'feature_extractor_type': optional(Text()),
    'rescale_offset': optional(_FLAG),
    'include_top': optional(_FLAG),
}
# Classes to which a bare number as size is the shortest edge; to all others it is a square.
_BY_EDGE = re.compile(
    r'(Bit|ChineseCLIP|CLIP|ConvNext|Levit|PoolFormer|Siglip)(ImageProcessor|FeatureExtractor)'
)
_SIZES = {'height': _SIDE, 'width': _SIDE, 'shortest_edge': _SIDE}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop and normalisation: network input = (pixels * scale - mean) / std.

    Pixels are uint8 0..255; mean and std have one entry a channel, in units of pixels * scale.

    >>> Preprocessing(image_size=(32, 32), mean=(0.5,), std=(0.5,), channels=1).image_size
    (32, 32)
    """

    image_size: tuple[int, int]
    """Height and width in pixels of what enters the network."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    channels: int = 3
    interpolation: str = 'bilinear'
    """One of the values of RESAMPLE; always antialiased."""
    resize: str = 'crop'
    """'crop': resize until `resized` is covered, keeping the aspect ratio; 'squash': resize to
    `resized` exactly. Then a centre crop of `image_size`."""
    crop_fraction: float = 1.0
    """Side of the centre crop as a share of the resized image's side."""
    scale: float = 1 / 255
    window: tuple[float, float] | None = None
    """Centre and width of the values that DICOM files show, in their units; None for what each
    file says."""

    def __post_init__(self):
        if not ListOf(_SIDE, 2, 2).holds(self.image_size):
            raise UserError(
                f'preprocessing: image_size is (height, width), each {_SIDE.expected}, not '
                f'{shown(self.image_size)}'
            )
        check_table(dataclasses.asdict(self), _KINDS, 'preprocessing')
        if min(self.std) <= 0:
            raise UserError(f'preprocessing: std must be above 0, not {shown(self.std)}')
        for field in ('image_size', 'mean', 'std'):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.window is not None:
            object.__setattr__(self, 'window', tuple(self.window))
            if self.window[1] <= 0:
                raise UserError(f'preprocessing: window is {self.window}; expected a width above 0')
        check_name(self.interpolation, RESAMPLE.values(), 'interpolation')
        check_name(self.resize, RESIZE_MODES, 'resize mode')
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UserError(
                f'preprocessing: {self.channels} channels, but mean {shown(self.mean)} and std '
                f'{shown(self.std)}'
            )

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) that the image is resized to, or to cover, before the centre crop."""
        height, width = self.image_size
        return before_crop(height, self.crop_fraction), before_crop(width, self.crop_fraction)

    def with_size(self, image_size: tuple[int, int]) -> Preprocessing:
        """The same at another input size."""
        return dataclasses.replace(self, image_size=tuple(image_size))

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` is the inverse."""
        fields = dataclasses.asdict(self)
        if self.window is None:
            fields.pop('window')
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @classmethod
    def from_json(cls, fields: JsonObject) -> Preprocessing:
        """The inverse of `to_json`; raises UserError on an unknown or missing field."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            check_name(name, known, 'preprocessing field')
        if 'image_size' not in fields:
            raise UserError('preprocessing: image_size is missing')
        return cls(**fields)

    @classmethod
    def from_huggingface(
        cls,
        config: JsonObject,
        channels: int = 3,
        where: str | os.PathLike[str] = 'preprocessor_config.json',
        processor: str = '',
    ) -> Preprocessing:
        """From the fields of a preprocessor_config.json.

        `size` may be {height, width}, {shortest_edge} or a number, which the image processor's
        class reads as one of the two; `crop_pct` is ConvNeXt's way of saying a crop fraction,
        which it drops at 384 pixels and above.

        Args:
          config: the fields.
          channels: of the network's images.
          where: the file, for messages.
          processor: the class of image processor where the file names none.

        Raises:
          UserError: a field that is read is not what it should be.
        """
        check_table(config, _SAVED, str(where))
        by_edge = _takes_edge(config, processor)
        config = with_defaults(config, processor, channels)
        size = _edges(config.get('size', 224), f'{where}: size')
        if not isinstance(config.get('size'), Mapping) and not by_edge:
            size = _both(size)
        crop = _edges(config['crop_size'], f'{where}: crop_size') if _crops(config) else None
        resize, fraction = 'crop', 1.0
        if isinstance(size, int) and config.get('crop_pct') and crop is None:
            target = (size, size)
            resize, fraction = ('crop', config['crop_pct']) if size < 384 else ('squash', 1.0)
        elif crop is not None:
            target = _both(crop)
            if isinstance(size, int) and target[0] != target[1]:
                raise UserError(
                    f'{where}: crop_size {target[0]}x{target[1]} of an image whose shortest edge '
                    f'is resized to {size}: what that leaves out or fills with black depends on '
                    'the image, and is not supported; expected a square'
                )
            resize, shortest = ('crop', size) if isinstance(size, int) else ('squash', min(size))
            fraction = min(1.0, min(target) / shortest) if config.get('do_resize', True) else 1.0
        else:
            target = _both(size)
            resize = 'crop' if isinstance(size, int) else 'squash'
        normalise = config.get('do_normalize', True)
        mean, std, scale = (0.0,) * channels, (1.0,) * channels, 1.0
        if normalise:
            mean = _per_channel(config, 'image_mean', channels, _PER_CHANNEL, where)
            std = _per_channel(config, 'image_std', channels, _DEVIATION, where)
        if config.get('do_rescale', True):
            scale = check(config.get('rescale_factor', 1 / 255), f'{where}: rescale_factor', _SCALE)
        if class_of(config, processor).startswith('EfficientNet'):
            # It subtracts 1 after scaling if asked to, and by default divides once more.
            if config.get('rescale_offset') and config.get('do_rescale', True):
                mean = tuple(value + 1 for value in mean)
            if config.get('include_top', True):
                again = _per_channel(config, 'image_std', channels, _DEVIATION, where)
                std = tuple(map(operator.mul, std, again))
        resample = config['resample']
        return cls(
            image_size=target,
            mean=mean,
            std=std,
            channels=channels,
            interpolation=resample if isinstance(resample, str) else RESAMPLE[resample],
            resize=resize,
            crop_fraction=fraction,
            scale=scale,
        )

    def to_huggingface(self, processor: str = 'ViTImageProcessor') -> dict[str, object]:
        """The fields of a preprocessor_config.json that `from_huggingface` reads back.

        A centre crop is written with `crop_size`, which ViTImageProcessor of transformers 4
        ignores: BitImageProcessor, which crops, stands in for it.

        Raises:
          UserError: an oblong crop of an image that is resized to cover it: transformers resizes
            the shorter side of any image alike, and fills what is then missing with black.
        """
        height, width = self.image_size
        if self.resize == 'crop' and height != width:
            raise UserError(
                f'images are resized to cover {height}x{width} pixels and cropped, and the image '
                'processors of transformers have no such crop but of squares; train at a square '
                'config.data.image_size, or save the network without its preprocessing '
                '(ftjax.export.huggingface.save_huggingface)'
            )
        if self.resize == 'crop' and processor.startswith('ViT'):
            processor = 'BitImageProcessor'
        number = next(key for key, name in RESAMPLE.items() if name == self.interpolation)
        config: dict[str, object] = {
            'image_processor_type': processor,
            'do_resize': True,
            'resample': number,
            'do_rescale': True,
            'rescale_factor': self.scale,
            'do_normalize': True,
            'image_mean': list(self.mean),
            'image_std': list(self.std),
        }
        crop = {'do_center_crop': False}
        if self.resize == 'crop' or self.crop_fraction < 1:
            crop = {'do_center_crop': True, 'crop_size': {'height': height, 'width': width}}
        size = dict(zip(('height', 'width'), self.resized, strict=True))
        if self.resize == 'crop':
            size = {'shortest_edge': min(self.resized)}
        return {**config, 'size': size, **crop}


def before_crop(side: int, crop_fraction: float) -> int:
    """The side in pixels before the centre crop; rounded down, as transformers and timm do.

    >>> before_crop(224, 0.9)
    248
    """
    return int(side / crop_fraction + 1e-6)


def _takes_edge(config: JsonObject, processor: str) -> bool:
    """Whether the class takes a bare number as the shortest edge; others take it as a square."""
    return bool(config.get('crop_pct') or _BY_EDGE.match(class_of(config, processor)))


def _crops(config: Mapping[str, object]) -> bool:
    return bool(config.get('do_center_crop')) and config.get('crop_size') is not None


def _edges(size: object, where: str) -> int | tuple[int, int]:
    """A number for a shortest edge, (height, width) for both."""
    if isinstance(size, Mapping):
        # Both of these names may be there, one of them null.
        size = {key: _whole(value) for key, value in size.items() if value is not None}
        check_table(size, _SIZES, where)
        if 'height' in size and 'width' in size:
            return size['height'], size['width']
        if 'shortest_edge' in size:
            return size['shortest_edge']
        raise UserError(f'{where} {shown(size)} has no height or shortest_edge')
    kinds = Either(_SIDE, ListOf(_SIDE, 2, 2), Table())
    checked = check(_whole(size), where, kinds)
    return (checked[0], checked[1]) if isinstance(checked, list) else checked


def _whole(value: object) -> Any:
    """224 for 224.0, as some files have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _both(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _per_channel(
    config: JsonObject, field: str, channels: int, kind: Kind, where: object
) -> tuple[float, ...]:
    """A number for each channel, from one for all or a list."""
    found = config[field]
    values = tuple(found) if isinstance(found, list) else (found,)
    values = values * channels if len(values) == 1 else values
    kinds = ListOf(kind, channels, channels)
    check(found if not kinds.holds(values) else values, f'{where}: {field}', kinds)
    return values
