"""Distortions of images: what each does to the values, and what all have in common."""

import dataclasses

import numpy as np
import pytest

from ftjax.data.dataset import Dataset
from ftjax.data.images.corruption import CORRUPTIONS, corrupt, parse_corruption
from ftjax.data.images.distortions import DISTORTIONS
from ftjax.errors import UserError


def distorted(name, image, amount, seed=0):
    return DISTORTIONS[name][0](image.astype(np.float32), amount, np.random.default_rng(seed))


@pytest.fixture
def grey():
    return np.full((200, 200, 3), 0.4, np.float32)


@pytest.fixture
def photos():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    return Dataset(name='d', kind='image', inputs=pixels, labels=[0] * 4, class_names=('a', 'b'))


@pytest.mark.parametrize(
    ('name', 'amount', 'spread'),
    [
        ('gaussian_noise', 0.1, 0.1),
        ('shot_noise', 50, np.sqrt(0.4 / 50)),
        ('speckle_noise', 0.2, 0.4 * 0.2),
    ],
)
def test_noises_have_the_mean_of_the_image_and_their_spread(name, amount, spread, grey):
    noisy = distorted(name, grey, amount)
    assert noisy.mean() == pytest.approx(0.4, abs=0.002)
    assert noisy.std() == pytest.approx(spread, rel=0.02)


def test_impulses_are_as_often_black_as_white_and_leave_the_rest(grey):
    noisy = distorted('impulse_noise', grey, 0.07)
    assert (noisy == 0).mean() == pytest.approx(0.035, abs=0.003)
    assert (noisy == 1).mean() == pytest.approx(0.035, abs=0.003)
    assert ((noisy == 0) | (noisy == 1) | (noisy == np.float32(0.4))).all()


def test_contrast_keeps_the_means_and_scales_the_rest():
    image = np.random.default_rng(1).random((32, 32, 3))
    flat = distorted('contrast', image, 0.15)
    np.testing.assert_allclose(flat.mean((0, 1)), image.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(flat.std((0, 1)), 0.15 * image.std((0, 1)), rtol=1e-4)


def test_brightness_is_that_of_the_value_of_hsv():
    import matplotlib.colors

    image = np.random.default_rng(2).random((8, 8, 3))
    hsv = matplotlib.colors.rgb_to_hsv(image)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    np.testing.assert_allclose(
        distorted('brightness', image, 0.3), matplotlib.colors.hsv_to_rgb(hsv), atol=1e-5
    )
    black = np.zeros((2, 2, 3))
    np.testing.assert_allclose(distorted('brightness', black, 0.3), 0.3, atol=1e-6)


def test_blur_spreads_a_point_as_a_gaussian_and_mixes_no_channels():
    image = np.zeros((21, 21, 2))
    image[10, 10, 0] = 1
    blurred = distorted('gaussian_blur', image, 1)
    assert not blurred[..., 1].any() and blurred[..., 0].sum() == pytest.approx(1, abs=1e-4)
    assert blurred[10, 11, 0] / blurred[10, 10, 0] == pytest.approx(np.exp(-0.5), abs=1e-3)


@pytest.mark.parametrize('channels', [1, 3])
def test_a_lower_quality_of_jpeg_is_further_from_the_image(channels):
    image = np.random.default_rng(3).random((32, 32, channels)).astype(np.float32)
    errors = [np.abs(distorted('jpeg', image, q) - image).mean() for q in (95, 40, 5)]
    assert errors == sorted(errors) and errors[0] < errors[-1]


@pytest.mark.parametrize('name', DISTORTIONS)
def test_every_example_amount_gives_the_same_new_images_each_time(name, photos):
    text = f'{name}:{DISTORTIONS[name][2]}'
    assert name in CORRUPTIONS and parse_corruption(text)[0] == name
    first, again = corrupt(photos, text), corrupt(photos, text)
    assert first.inputs.dtype == np.uint8 and first.inputs.shape == photos.inputs.shape
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert (first.inputs != photos.inputs).any()
    alone = corrupt(photos.take([2]), text)
    np.testing.assert_array_equal(alone.inputs[0], first.inputs[2])
    unit = photos.inputs[:1] / np.float32(255)
    small = corrupt(dataclasses.replace(photos.take([0]), inputs=unit), text)
    assert small.inputs.dtype == np.float32 and 0 <= small.inputs.min() <= small.inputs.max() <= 1


@pytest.mark.parametrize(
    'text', ['jpeg:0', 'jpeg:101', 'contrast', 'impulse_noise:2', 'none:1', 'none:', 'jpeg:']
)
def test_an_amount_out_of_range_is_refused(text):
    with pytest.raises(UserError, match=r'data\.corruption'):
        parse_corruption(text)
