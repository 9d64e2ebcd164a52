"""The pixels of torchvision's weights, whose files hold tensors alone."""

from __future__ import annotations

from ftjax.preprocessing.images import Preprocessing

FIELD = 'torchvision'
"""Entry that `config_from_tensors` gives a config for files with torchvision's names."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RESIZED = 256
"""resize_size of `transforms()` of ViT_B_16_Weights, ViT_B_32_Weights and ResNet50_Weights, each
IMAGENET1K_V1, with crop_size 224. ViT_L_16 has 242 and the ResNets' IMAGENET1K_V2 232, which names
and shapes do not tell apart."""
_CROPPED = 224


def torchvision_pixels(image_size: tuple[int, int], resized: int = RESIZED) -> Preprocessing:
    """Of torchvision's `ImageClassification` (torchvision/transforms/_presets.py).

    Above 224 pixels there are the IMAGENET1K_SWAG_E2E_V1 alone, bicubic and without a crop.

    Args:
      image_size: height and width of what enters the network.
      resized: side before the crop to 224 pixels.
    """
    large = min(image_size) > _CROPPED
    mean, std = IMAGENET
    return Preprocessing(
        image_size=image_size,
        mean=mean,
        std=std,
        interpolation='bicubic' if large else 'bilinear',
        crop_fraction=1.0 if large else _CROPPED / resized,
    )
