"""What an image processor of transformers does where its file does not say.

Values are those of the classes of transformers 5 (models/NAME/image_processing_pil_NAME.py). Null
in a file stands for them, as does a field that is missing.
"""

from __future__ import annotations

import re
from typing import Any

from ftjax.io.json.json_values import JsonObject

# OPENAI_CLIP_*, IMAGENET_DEFAULT_* and IMAGENET_STANDARD_* of transformers/image_utils.py.
_CLIP = {
    'image_mean': [0.48145466, 0.4578275, 0.40821073],
    'image_std': [0.26862954, 0.26130258, 0.27577711],
}
_IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
_HALF = {'image_mean': 0.5, 'image_std': 0.5}
_CROPPED = {'do_center_crop': True, 'crop_size': {'height': 224, 'width': 224}}
_BILINEAR, _BICUBIC = {'resample': 2}, {'resample': 3}


def _edge(side: int) -> dict[str, Any]:
    return {'size': {'shortest_edge': side}}


def _square(side: int) -> dict[str, Any]:
    return {'size': {'height': side, 'width': side}}


DEFAULTS: dict[str, dict[str, Any]] = {
    'ViT': {**_HALF, **_BILINEAR, **_square(224)},  # ViTImageProcessor
    'DeiT': {**_HALF, **_BICUBIC, **_square(256), **_CROPPED},  # DeiTImageProcessor
    'CLIP': {**_CLIP, **_BICUBIC, **_edge(224), **_CROPPED},  # CLIPImageProcessor
    'ChineseCLIP': {**_CLIP, **_BICUBIC, **_edge(224), **_CROPPED},  # ChineseCLIPImageProcessor
    # ConvNextImageProcessor; ResNets have it, too.
    'ConvNext': {**_HALF, **_BICUBIC, **_edge(384), 'crop_pct': 224 / 256},
    'Bit': {**_CLIP, **_BICUBIC, **_edge(224), **_CROPPED},  # BitImageProcessor; of DINOv2, too
    'Beit': {  # BeitImageProcessor
        **_HALF,
        **_BICUBIC,
        **_square(224),
        **_CROPPED,
        'do_center_crop': False,
    },
    'Siglip': {**_HALF, **_BICUBIC, **_square(224)},  # SiglipImageProcessor
    'Siglip2': {**_HALF, **_BILINEAR},  # Siglip2ImageProcessor
    'EfficientNet': {  # EfficientNetImageProcessor
        **_HALF,
        **_BICUBIC,
        **_square(346),
        'do_center_crop': False,
        'crop_size': {'height': 289, 'width': 289},
    },
    'DINOv3ViT': {**_IMAGENET, **_BILINEAR, **_square(224)},  # DINOv3ViTImageProcessorFast
    'Levit': {**_IMAGENET, **_BICUBIC, **_edge(224), **_CROPPED},  # LevitImageProcessor
}
"""Name of the class without its ending -> its fields. A class that is not here has ViT's."""


def with_defaults(config: JsonObject, processor: str, channels: int) -> dict[str, Any]:
    """The fields of a preprocessor_config.json with those that it leaves to its class.

    Args:
      config: the fields of the file.
      processor: the class of image processor where the file names none.
      channels: of the network's images; a class has mean and deviation of colours, which have no
        say in what is grey.
    """
    named = class_of(config, processor)
    prefix = re.split('ImageProcessor|FeatureExtractor', named)[0]
    usual = dict(DEFAULTS.get(prefix, DEFAULTS['ViT']))
    for field in ('image_mean', 'image_std'):
        if isinstance(usual[field], list) and len(usual[field]) != channels:
            usual[field] = _HALF[field]
    return {**usual, **{name: value for name, value in config.items() if value is not None}}


def class_of(config: JsonObject, processor: str) -> str:
    """The class that a file names, else `processor`."""
    named = config.get('image_processor_type') or config.get('feature_extractor_type')
    return str(named or processor)
