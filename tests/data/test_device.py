"""Preparation and augmentation on the device against NumPy, SciPy and Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ftjax import registry
from ftjax.data import augment, prepare
from ftjax.data.augmentation import known
from ftjax.data.images.augmentation import affine, crop_resize, rotate
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 12, 3), dtype=np.uint8)
UNIT = IMAGES.astype(np.float32) / 255
KEY = jax.random.key(3)


def smooth(height, width):
    small = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 255


def test_prepare_is_the_formula_in_float64():
    preprocessing = Preprocessing(
        image_size=(16, 12), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    want = (IMAGES / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    got = jax.jit(lambda x: prepare(x, preprocessing))(IMAGES)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=2e-6)
    np.testing.assert_allclose(prepare(UNIT, preprocessing), want, atol=2e-6)
    raw = Preprocessing(image_size=(16, 12), mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)
    np.testing.assert_array_equal(prepare(IMAGES, raw), IMAGES)
    np.testing.assert_allclose(prepare(UNIT, raw), IMAGES, atol=1e-4)


def test_grey_is_repeated_and_other_channels_refused():
    preprocessing = Preprocessing(image_size=(16, 12), mean=(0, 0.5, 1), std=(1, 1, 1))
    got = np.asarray(prepare(IMAGES[..., :1], preprocessing))
    np.testing.assert_allclose(
        got + np.array([0, 0.5, 1]), np.repeat(UNIT[..., :1], 3, -1), atol=1e-6
    )
    with pytest.raises(UserError, match=r'3 channels.*data\.channels=1'):
        prepare(IMAGES, Preprocessing(image_size=(16, 12), mean=(0,), std=(1,), channels=1))


POLICIES = {'rand_augment', 'auto_augment'}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in POLICIES else name
    for name in known('images').split(', ')
]


@pytest.mark.parametrize('name', NAMES)
def test_each_image_is_augmented_by_its_own_key_and_reproducibly(name):
    images = jnp.asarray(np.repeat(UNIT[:1], 8, 0))
    apply = jax.jit(lambda x, key: augment(x, key, name))
    one, again, other = apply(images, KEY), apply(images, KEY), apply(images, jax.random.key(4))
    np.testing.assert_array_equal(one, again)
    assert one.shape == images.shape and one.dtype == jnp.float32
    assert len({np.asarray(image).tobytes() for image in one}) > 1
    assert not np.array_equal(one, other)
    assert float(one.min()) >= -1e-5 and float(one.max()) <= 1 + 1e-5


MOVES = [
    name
    for name, part in registry.parts('augmentation').items()
    if part.function.__module__ == 'ftjax.data.images.augmentation'
]


@pytest.mark.parametrize('name', MOVES)
def test_augmenting_commutes_with_normalising(name):
    preprocessing = Preprocessing(image_size=(16, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    first = prepare(augment(IMAGES, KEY, name), preprocessing)
    last = augment(prepare(IMAGES, preprocessing), KEY, name)
    np.testing.assert_allclose(first, last, atol=3e-5)


@pytest.mark.parametrize('name', ['shift:0', 'pad_crop:0', 'rotate:0', 'affine:0', 'flip:0'])
def test_no_amount_changes_nothing(name):
    np.testing.assert_allclose(augment(IMAGES, KEY, name), UNIT, atol=1e-6)


def test_none_leaves_the_bytes_alone():
    assert augment(IMAGES, KEY, 'none') is IMAGES


def test_flip_mirrors_half_of_the_images():
    np.testing.assert_array_equal(augment(IMAGES, KEY, 'flip:1'), UNIT[:, :, ::-1])
    many = jnp.asarray(np.repeat(UNIT[:1], 400, 0))
    flipped = (np.asarray(augment(many, KEY, 'flip')) != UNIT[:1]).any((1, 2, 3))
    assert 150 < flipped.sum() < 250  # five standard deviations


@pytest.mark.parametrize('name, mode', [('shift:2', 'edge'), ('pad_crop:2', 'reflect')])
def test_shifts_are_windows_of_the_padded_image(name, mode):
    many = np.repeat(UNIT[:1], 300, 0)
    padded = np.pad(UNIT[0], ((2, 2), (2, 2), (0, 0)), mode=mode)
    windows = {padded[i : i + 16, j : j + 12].tobytes() for i in range(5) for j in range(5)}
    got = {np.asarray(image).tobytes() for image in augment(many, KEY, name)}
    assert got == windows  # each of the 25 places, and nothing else


def test_rotation_is_scipys():
    from scipy import ndimage

    image = smooth(20, 20)
    draws = jax.random.split(KEY, 5)
    for key in draws:
        got = np.asarray(rotate(jnp.asarray(image), key, 40.0))
        angle = float(jax.random.uniform(key, (), minval=-40.0, maxval=40.0))
        want = ndimage.rotate(image, -angle, reshape=False, order=1, mode='nearest')
        np.testing.assert_allclose(got, want, atol=1e-4)


def test_affine_moves_scales_slants_and_turns():
    from scipy import ndimage

    image = smooth(24, 18)
    got = np.asarray(affine(jnp.asarray(image), KEY, 0.2))
    turn, size, slant, down, right = np.asarray(
        jax.random.uniform(KEY, (5,), minval=-0.2, maxval=0.2), np.float64
    )
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.array([[1, 0], [slant, 1]]) * np.exp(size)
    centre = (np.array([24, 18]) - 1) / 2
    offset = centre + np.array([down * 24, right * 18]) - matrix @ centre
    want = np.stack(
        [
            ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode='nearest')
            for c in range(3)
        ],
        -1,
    )
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize(
    'box', [(0.25, 0.1, 0.5, 0.6), (0.0, 0.0, 1.0, 1.0), (0.3, 0.4, 0.31, 0.22)]
)
def test_a_resized_crop_is_pillows(box):
    image = smooth(32, 40)
    top, left, height, width = box
    got = crop_resize(jnp.asarray(image), jnp.array([top, left]), jnp.array([height, width]))
    # Pillow's filter looks beyond no border of the box, ours beyond none of the image: cut out
    # whole pixels first, and compare away from the border.
    region = (left * 40, top * 32, (left + width) * 40, (top + height) * 32)
    planes = [
        Image.fromarray(image[..., c]).resize((40, 32), Image.Resampling.BILINEAR, box=region)
        for c in range(3)
    ]
    want = np.stack([np.asarray(plane) for plane in planes], -1)
    edge = 3
    np.testing.assert_allclose(
        np.asarray(got)[edge:-edge, edge:-edge], want[edge:-edge, edge:-edge], atol=0.01
    )


def test_random_resized_crops_stay_inside_and_within_the_area():
    # A ramp in each direction: the values at the corners say what was cut out.
    ramp = np.stack(np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 64), indexing='ij'), -1)
    ramp = np.repeat(ramp[None].astype(np.float32), 200, 0)
    got = np.asarray(augment(ramp, KEY, 'random_resized_crop:0.5'))
    spans = got[:, -1, -1] - got[:, 0, 0]
    areas = spans[:, 0] * spans[:, 1]
    assert areas.min() > 0.40 and areas.max() <= 1.0
    assert np.quantile(areas, 0.1) < 0.6 and np.quantile(areas, 0.9) > 0.85
    ratios = spans[:, 1] / spans[:, 0]
    assert ratios.min() > 0.72 and ratios.max() < 1.38


def test_augmentations_are_drawn_apart_and_in_order():
    both = augment(IMAGES, KEY, 'shift:2,flip')
    twice = augment(IMAGES, KEY, 'shift:2,shift:2')
    once = augment(IMAGES, KEY, 'shift:2')
    assert not np.array_equal(twice, once)
    # The same augmentation draws something else in second place.
    assert not np.array_equal(augment(IMAGES, KEY, 'flip:0,shift:2'), once)
    mirrored = [np.array_equal(b, o[:, ::-1]) for b, o in zip(both, once, strict=True)]
    plain = [np.array_equal(b, o) for b, o in zip(both, once, strict=True)]
    assert all(m or p for m, p in zip(mirrored, plain, strict=True)) and any(mirrored)
