"""Augmentations of colour, tone, detail and policy against Pillow, SciPy and closed forms."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from ftjax.data import DataSettings, augment, load_data
from ftjax.data.images import policies, tone
from ftjax.data.images.augmentation import projected, sampled, scale
from ftjax.data.images.colour import brightened, contrasted, saturated, turned
from ftjax.data.images.degradation import gaussian_blurred, in_box
from ftjax.data.images.mixing import mixed
from ftjax.data.images.on_device import unit_range
from ftjax.data.images.test_time import averaged
from ftjax.data.matching import matching_preprocessing
from ftjax.errors import UserError
from ftjax.models.registry import build
from ftjax.plotting.augmentations import augmented_figure
from ftjax.plotting.save import save_figure

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(20, 230, (24, 20, 3), dtype=np.uint8)
IMAGE = jnp.asarray(PIXELS, jnp.float32) / 255
PICTURE = Image.fromarray(PIXELS)
KEY = jax.random.key(7)
ONE_LEVEL = 1.01 / 255


def pillow(image):
    return np.asarray(image, np.float32) / 255


@pytest.mark.parametrize('factor', [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    'ours,theirs',
    [
        (brightened, ImageEnhance.Brightness),
        (contrasted, ImageEnhance.Contrast),
        (saturated, ImageEnhance.Color),
        (tone.sharpened, ImageEnhance.Sharpness),
    ],
)
def test_factors_mean_what_they_mean_in_pillow(ours, theirs, factor):
    want = pillow(theirs(PICTURE).enhance(factor))
    # Pillow rounds the grey or smoothed picture, and then what it blends of it.
    np.testing.assert_allclose(ours(IMAGE, factor), want, atol=ONE_LEVEL * (1 + abs(1 - factor)))


@pytest.mark.parametrize(
    'ours,theirs',
    [
        (lambda x: tone.posterised(x, 3), lambda x: ImageOps.posterize(x, 3)),
        (lambda x: tone.solarised(x, 100 / 255), lambda x: ImageOps.solarize(x, 100)),
        (tone.autocontrasted, ImageOps.autocontrast),
        (tone.equalised, ImageOps.equalize),
        (lambda x: policies.OPERATIONS['invert'](x, 0), ImageOps.invert),
    ],
)
def test_tones_are_those_of_pillow(ours, theirs):
    big = RNG.integers(0, 200, (40, 30, 3)) ** 2 // 256 * 2 % 251
    for pixels in (PIXELS, big.astype(np.uint8), np.full((9, 9, 3), 77, np.uint8)):
        got = ours(jnp.asarray(pixels, jnp.float32) / 255)
        want = pillow(theirs(Image.fromarray(pixels)))
        np.testing.assert_allclose(got, want, atol=ONE_LEVEL)
    exact = tone.equalised(IMAGE), pillow(ImageOps.equalize(PICTURE))
    np.testing.assert_allclose(*exact, atol=1e-6)


def test_hue_turns_the_wheel_and_keeps_value_and_saturation():
    for share in (-0.5, -0.1, 0.0, 0.3):
        got = np.asarray(turned(IMAGE, share))
        for y, x in ((0, 0), (3, 7), (20, 11)):
            h, s, v = colorsys.rgb_to_hsv(*np.asarray(IMAGE[y, x], np.float64))
            np.testing.assert_allclose(
                got[y, x], colorsys.hsv_to_rgb((h + share) % 1, s, v), atol=2e-6
            )
    grey = jnp.broadcast_to(IMAGE[..., :1], IMAGE.shape)
    np.testing.assert_allclose(turned(grey, 0.3), grey, atol=1e-6)


def test_blur_is_the_gaussian_filter_of_scipy():
    for sigma in (0.5, 1.3):
        want = ndimage.gaussian_filter(
            np.asarray(IMAGE), (sigma, sigma, 0), mode='mirror', truncate=5
        )
        np.testing.assert_allclose(gaussian_blurred(IMAGE, sigma, 1.5), want, atol=2e-3)
    np.testing.assert_allclose(gaussian_blurred(IMAGE, 0.0, 1.0), IMAGE, atol=1e-6)


def test_perspective_is_that_of_pillow():
    corners = jnp.array([[2.0, 1.0], [1.0, 17.0], [21.0, 18.0], [22.0, 3.0]])
    smooth = ndimage.gaussian_filter(PIXELS.astype(np.float32), (2, 2, 0))
    points = projected((24, 20, 3), corners)
    # Corners of the result show corners of the image.
    for (y, x), own in zip(
        np.asarray(corners, int), ((0, 0), (0, 19), (23, 19), (23, 0)), strict=True
    ):
        np.testing.assert_allclose(points[:, y, x], own, atol=1e-3)
    got = sampled(jnp.asarray(smooth), points)
    # Pillow's coefficients, from three interior points of the same projection.
    rows, wanted = [], []
    for y, x in ((0, 0), (0, 19), (23, 0), (23, 19)):
        v, u = np.asarray(points[:, y, x], np.float64) + 0.5
        px, py = x + 0.5, y + 0.5
        rows += [[px, py, 1, 0, 0, 0, -u * px, -u * py], [0, 0, 0, px, py, 1, -v * px, -v * py]]
        wanted += [u, v]
    data = np.linalg.solve(rows, wanted)
    for channel in range(3):
        plane = Image.fromarray(smooth[..., channel])
        want = plane.transform(
            (20, 24), Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR
        )
        inside = np.asarray((points[0] > 1) & (points[0] < 22) & (points[1] > 1) & (points[1] < 18))
        np.testing.assert_allclose(
            np.asarray(got[..., channel])[inside], np.asarray(want)[inside], atol=0.05
        )


def test_scale_zooms_about_the_centre():
    y, x = jnp.meshgrid(jnp.arange(21.0), jnp.arange(21.0), indexing='ij')
    radius = jnp.hypot(y - 10, x - 10)[..., None] / 15
    got = np.asarray(scale(radius, KEY, 0.5))
    factor = float(radius[10, 15, 0] / got[10, 15, 0])
    assert 0.5 <= factor <= 1.5 and abs(factor - 1) > 0.01
    np.testing.assert_allclose(got[6:15, 6:15], radius[6:15, 6:15] / factor, atol=0.02)


def test_erasing_fills_one_box_with_the_mean():
    keys = jax.random.split(KEY, 40)
    from ftjax.data.images.degradation import erasing

    for got in np.asarray(jax.vmap(lambda k: erasing(IMAGE, k, 1.0, 0.3))(keys)):
        hit = (got != np.asarray(IMAGE)).any(-1)
        assert 0.0 < hit.mean() < 0.36
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        box = hit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.97  # a pixel may have the mean colour already
        np.testing.assert_allclose(
            got[hit], np.broadcast_to(IMAGE.mean((0, 1)), (hit.sum(), 3)), atol=1e-5
        )
    assert float(in_box((10, 10), jnp.array([0.2, 0.0]), jnp.array([0.5, 0.3])).sum()) == 15


def test_policies_apply_operations_of_the_published_amounts():
    known = policies.amounts(31, 224, 224)
    assert known['posterise'][[0, 9, 30]].tolist() == [8, 7, 4]
    assert known['shear_x'][-1] == pytest.approx(0.3) and known['rotate'][10] == pytest.approx(10)
    assert policies.amounts(31, 32, 32, wide=True)['posterise'][-1] == 2
    number = policies.NAMES.index('rotate')
    got = policies.applied(IMAGE, jnp.asarray(number), jnp.asarray(90.0))
    square = IMAGE[:20]
    np.testing.assert_allclose(
        policies.applied(square, jnp.asarray(number), jnp.asarray(90.0)),
        np.rot90(square, -1),
        atol=1e-4,
    )
    assert got.shape == IMAGE.shape
    for pairs in policies.POLICIES.values():
        assert len(pairs) == 25 and {op for pair in pairs for op, _, _ in pair} <= {*policies.NAMES}


def test_wrong_policies_are_refused():
    with pytest.raises(UserError, match="did you mean 'imagenet'"):
        augment(PIXELS[None], KEY, 'auto_augment:imagnet')


BATCH = RNG.integers(0, 256, (6, 10, 8, 3), dtype=np.uint8)


def test_mixup_averages_and_cutmix_counts_pixels():
    unit = np.asarray(unit_range(jnp.asarray(BATCH)))
    images, mix = mixed(BATCH, KEY, 'mixup:1')
    share, other = np.asarray(mix['share'])[:, None, None, None], unit[np.asarray(mix['partner'])]
    np.testing.assert_allclose(images, share * unit + (1 - share) * other, atol=1e-6)
    assert sorted(mix['partner'].tolist()) == list(range(6)) and len({*share.ravel()}) == 6
    images, mix = mixed(BATCH, KEY, 'cutmix')
    other = unit[np.asarray(mix['partner'])]
    for n in range(6):
        own = (np.asarray(images[n]) == unit[n]).all(-1)
        assert (own | (np.asarray(images[n]) == other[n]).all(-1)).all()
        if mix['partner'][n] != n:
            assert own.mean() == pytest.approx(float(mix['share'][n]), abs=1e-6)
    assert mixed(BATCH, KEY, 'flip')[1] == {} and mixed(BATCH, KEY, 'flip')[0] is BATCH


def test_shares_of_mixup_follow_the_beta_distribution():
    from scipy import stats

    many = np.zeros((4000, 1, 1, 1), np.float32)
    share = np.asarray(jax.jit(lambda x: mixed(x, KEY, 'mixup:0.4')[1]['share'])(many))
    assert stats.kstest(share, stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    one = jax.jit(lambda key: mixed(BATCH, key, 'mixup,cutmix')[0])
    chosen = [one(jax.random.key(n)) for n in range(12)]
    whole = [
        np.isin(np.round(np.asarray(c) * 255, 3), np.arange(256)).mean() > 0.99 for c in chosen
    ]
    assert 0 < sum(whole) < 12  # some batches are mixed one way, some the other


def test_views_of_a_test_image_are_averaged():
    weights = RNG.normal(size=(10 * 10 * 3, 4)).astype(np.float32)
    square = BATCH[:, :, :, :].astype(np.float32)[:, :8, :8]

    def run(x):
        return x.reshape(len(x), -1) @ weights[: 8 * 8 * 3]

    flip = (run(square) + run(square[:, :, ::-1])) / 2
    np.testing.assert_allclose(
        averaged(run, jnp.asarray(square), 'flip'), flip, rtol=1e-4, atol=1e-2
    )
    turns = [np.rot90(square, k, axes=(1, 2)) for k in range(4)]
    views = turns + [np.swapaxes(view, 1, 2) for view in turns]
    want = np.mean([run(view) for view in views], axis=0)
    np.testing.assert_allclose(
        averaged(run, jnp.asarray(square), 'dihedral'), want, rtol=1e-4, atol=1e-2
    )
    moved = averaged(lambda x: x, jnp.asarray(square), 'shift:1')
    around = ndimage.generate_binary_structure(2, 1) / 5
    want = ndimage.convolve(square, around[None, :, :, None], mode='nearest')
    np.testing.assert_allclose(moved, want, atol=1e-3)
    with pytest.raises(UserError, match='needs square images'):
        averaged(lambda x: x, jnp.asarray(BATCH), 'dihedral')
    with pytest.raises(UserError, match='is for images'):
        averaged(lambda x: x, {'input_ids': BATCH}, 'flip')


def test_views_that_cannot_be_are_refused_before_a_run():
    asked = DataSettings(source='digits', image_size=(8, 10), tta='dihedral')
    data = load_data(asked).train
    network = build('resnet_bn_cifar', {'depth': 8, 'image_size': 8})
    with pytest.raises(UserError, match='needs square images; these are 8 x 10'):
        matching_preprocessing(data, network, None, asked)


def test_a_picture_shows_a_batch_before_and_after(tmp_path):
    batch = {'inputs': BATCH, 'labels': np.arange(6)}
    for name in ('a.png', 'b.png'):
        save_figure(augmented_figure(batch, 'flip,mixup', 3, list('uvwxyz')), tmp_path / name)
    first = (tmp_path / 'a.png').read_bytes()
    assert first.startswith(b'\x89PNG') and first == (tmp_path / 'b.png').read_bytes()
    grid = augmented_figure({'inputs': BATCH[..., :1]}, 'brightness:1', 0)
    shown = [np.asarray(axes.images[0].get_array()) for axes in grid.axes]
    assert len(shown) == 6 * 5
    np.testing.assert_allclose(shown[0], BATCH[0, ..., 0] / 255, atol=1e-6)
    assert any(not np.allclose(shown[0], other) for other in shown[1:5])
    with pytest.raises(UserError, match='draws images'):
        augmented_figure({'inputs': {'input_ids': BATCH}}, 'flip')
