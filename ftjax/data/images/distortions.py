"""What is done to an image to study shifts: noise, blur, contrast, brightness, compression.

A distortion is a function (image, amount, rng) -> image: float32 (h, w, channels) in 0..1 goes
in, and what comes out may leave that range. Source of all: Hendrycks & Dietterich 2019,
arXiv:1903.12261; amounts in EXAMPLE are those of CIFAR-10-C at severity 5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Distortion = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def gaussian_noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Adds noise of this standard deviation, of 1."""
    return image + std * rng.standard_normal(image.shape, np.float32)


def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts photons, so many on average where the image is 1: fewer are noisier."""
    return (rng.poisson(image * photons) / photons).astype(np.float32)


def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Sets a share of the values to 0 or 1, either as likely: salt and pepper."""
    hit = rng.random(image.shape) < share
    return np.where(hit, rng.integers(0, 2, image.shape), image).astype(np.float32)


def speckle_noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Adds noise in proportion to the value."""
    return image + image * (std * rng.standard_normal(image.shape, np.float32))


def gaussian_blur(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Convolves height and width with a Gaussian of so many pixels."""
    from scipy.ndimage import gaussian_filter

    del rng
    return gaussian_filter(image, (sigma, sigma, 0), mode='nearest')


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies the distance from each channel's mean."""
    del rng
    mean = image.mean(axis=(0, 1), keepdims=True)
    return mean + np.float32(factor) * (image - mean)


def brightness(image: np.ndarray, rise: float, rng: np.random.Generator) -> np.ndarray:
    """Adds to the value of hue, saturation and value, which is the largest channel."""
    del rng
    value = image.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + np.float32(rise), 1)
    scale = brighter / np.maximum(value, np.float32(1e-6))
    return np.where(value > 0, image * scale, brighter)


def jpeg(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Writes and reads the image as JPEG of this quality, 1 to 100."""
    import io

    from PIL import Image

    del rng
    pixels = (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        file, 'JPEG', quality=round(quality)
    )
    decoded = np.asarray(Image.open(file), np.float32) / np.float32(255)
    return decoded.reshape(image.shape)


DISTORTIONS: dict[str, tuple[Distortion, float, str]] = {
    'gaussian_noise': (gaussian_noise, 10, '0.10'),
    'shot_noise': (shot_noise, 1e6, '50'),
    'impulse_noise': (impulse_noise, 1, '0.07'),
    'speckle_noise': (speckle_noise, 10, '0.20'),
    'gaussian_blur': (gaussian_blur, 100, '1'),
    'contrast': (contrast, 10, '0.15'),
    'brightness': (brightness, 1, '0.30'),
    'jpeg': (jpeg, 100, '40'),
}
"""Name to function, largest amount, and an amount as an example. Amounts are above 0."""
