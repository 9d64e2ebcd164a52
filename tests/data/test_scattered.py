import numpy as np
import pytest

from ftjax.data.synthetic.scattered import Scatter, scatter_digits
from ftjax.errors import UserError

STILL = {'size': (8.0, 8.0), 'angle': 0.0, 'ink': (1.0, 1.0), 'noise': 0.0}


@pytest.fixture(scope='module')
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target


def test_without_any_draw_the_image_comes_back(digits):
    images = digits[0][:50]
    same = scatter_digits(images, size=8, scatter=Scatter(**STILL))
    np.testing.assert_array_equal(same[..., 0], images)


def test_enlarging_agrees_with_pillow(digits):
    from PIL import Image

    images = digits[0][:50]
    ours = scatter_digits(images, size=24, scatter=Scatter(**{**STILL, 'size': (24.0, 24.0)}))
    for image, mine in zip(images, ours[..., 0], strict=True):
        theirs = np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR))
        # Pillow repeats the border where a digit's frame ends; ours fades to the background.
        np.testing.assert_allclose(mine[2:-2, 2:-2], theirs[2:-2, 2:-2], atol=1)


def test_a_turn_moves_the_ink_and_keeps_its_amount(digits):
    images = digits[0][:200]
    still = {**STILL, 'size': (24.0, 24.0)}
    upright = scatter_digits(images, size=36, scatter=Scatter(**still))
    moved = scatter_digits(images, size=36, scatter=Scatter(**{**still, 'angle': 90.0}))
    ink = [picture.sum(axis=(1, 2, 3), dtype=np.float64) for picture in (upright, moved)]
    np.testing.assert_allclose(ink[1], ink[0], rtol=0.03)
    assert np.abs(upright.astype(int) - moved).mean() > 10


def test_a_draw_depends_on_the_seed_and_the_example_alone(digits):
    images = digits[0][:40]
    whole = scatter_digits(images, seed=5)
    np.testing.assert_array_equal(scatter_digits(images[:7], seed=5), whole[:7])
    others = images.copy()
    others[:20] = 0
    np.testing.assert_array_equal(scatter_digits(others, seed=5)[20:], whole[20:])
    assert not np.array_equal(scatter_digits(images, seed=6), whole)
    twins = scatter_digits(np.stack([images[0], images[0]]), seed=5)
    assert not np.array_equal(twins[0], twins[1])


def test_every_digit_is_on_the_canvas(digits):
    images = digits[0][:300]
    quiet = scatter_digits(images, scatter=Scatter(noise=0.0))
    share = quiet.sum(axis=(1, 2, 3)) / images.sum(axis=(1, 2))
    # Ink grows with the area, (11 / 8)^2 to (18 / 8)^2, times a brightness of .6 to 1; a corner
    # that turns out of the frame may cost a little.
    assert share.min() > 0.9 * 0.6 * (11 / 8) ** 2 and share.max() < 1.1 * (18 / 8) ** 2
    rows = np.arange(24) + 0.5
    centre = (quiet[..., 0] * rows[:, None]).sum(axis=(1, 2)) / quiet.sum(axis=(1, 2, 3))
    assert np.std(centre) > 1.2 and abs(centre.mean() - 12) < 0.5


def test_the_task_has_not_changed(digits):
    """Results under results/ were made on these images; a change of the draws needs new ones."""
    scattered = scatter_digits(digits[0])
    assert scattered.shape == (1797, 24, 24, 1) and scattered.dtype == np.uint8
    coarse = scattered[[0, 900, 1796], :, :, 0].reshape(3, 3, 8, 3, 8).mean(axis=(2, 4))
    expected = [
        [[69.8, 69.92, 11.33], [56.42, 64.2, 8.06], [11.03, 12.42, 9.94]],
        [[24.84, 50.42, 6.86], [52.36, 97.39, 14.12], [12.22, 24.61, 11.2]],
        [[14.55, 75.48, 9.55], [16.8, 73.91, 12.92], [9.84, 14.0, 9.83]],
    ]
    np.testing.assert_allclose(coarse, expected, atol=0.1)


def test_scattering_is_what_makes_pixels_fail(digits):
    from sklearn.linear_model import RidgeClassifier

    images, labels = digits
    train, test = np.arange(1797) % 4 > 0, np.arange(1797) % 4 == 0

    def score(pixels):
        flat = pixels.reshape(len(pixels), -1) / 255
        model = RidgeClassifier(alpha=10.0).fit(flat[train], labels[train])
        return model.score(flat[test], labels[test])

    assert score(images) > 0.9
    assert score(scatter_digits(images)) < 0.6


@pytest.mark.parametrize(
    'images',
    [np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(UserError, match='expected uint8 images of shape'):
        scatter_digits(images)
