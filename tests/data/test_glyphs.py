import string

import numpy as np
import pytest

from ftjax.data.synthetic.glyphs import (
    CHARACTERS,
    CLASS_NAMES,
    SAME_SHAPE,
    Distortion,
    render_glyphs,
)
from ftjax.errors import UserError

# One value a range: what is left is the font and, where it differs from 0, the noise.
PLAIN = {
    'size': (0.9, 0.9),
    'angle': 0.0,
    'shear': 0.0,
    'stretch': 0.0,
    'warp': 0.0,
    'blur': (0.3, 0.3),
    'ink': (1.0, 1.0),
    'noise': (0.0, 0.0),
}


def plain(**changes):
    return Distortion(**{**PLAIN, **changes})


def extents(images):
    """Rows and columns from the first to the last lit pixel of each image."""
    lit = images[..., 0] > 100
    rows, columns = lit.any(axis=2), lit.any(axis=1)
    return np.stack([np.ptp(np.nonzero(row)[0]) + 1 for row in rows]), np.stack(
        [np.ptp(np.nonzero(column)[0]) + 1 for column in columns]
    )


def test_shapes_types_and_classes():
    images, labels = render_glyphs(4096, seed=3)
    assert images.shape == (4096, 24, 24, 1) and images.dtype == np.uint8
    assert labels.dtype == np.int32
    share = np.bincount(labels, minlength=len(CLASS_NAMES)) * len(CLASS_NAMES) / 4096
    assert len(share) == len(CLASS_NAMES) and share.min() > 0.5 and share.max() < 1.6
    assert images.reshape(4096, -1).max(axis=1).min() > 90  # no empty image


def test_class_names_merge_only_cases_of_the_same_shape():
    assert set(string.digits + string.ascii_uppercase) <= set(CLASS_NAMES)
    missing = set(CHARACTERS) - set(CLASS_NAMES)
    assert missing == set(SAME_SHAPE) and len(CLASS_NAMES) == 62 - len(SAME_SHAPE)


def test_same_seed_same_images_and_a_prefix_does_not_depend_on_the_count():
    many, labels = render_glyphs(2500, seed=7)  # crosses the border of a chunk
    few, few_labels = render_glyphs(2100, seed=7)
    np.testing.assert_array_equal(many[:2100], few)
    np.testing.assert_array_equal(labels[:2100], few_labels)
    other, _ = render_glyphs(2100, seed=8)
    assert not np.array_equal(few, other)
    assert not np.array_equal(many[:400], many[2048:2448])  # chunks have streams of their own


def test_undistorted_characters_agree_with_the_font_renderer():
    """Each image is nearest, among all classes of all upright faces, to a picture of its own."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    images, labels = render_glyphs(512, seed=0, distortion=plain(size=(0.99, 0.99)))
    templates, names = [], []
    for face in ('DejaVuSans', 'DejaVuSerif', 'DejaVuSansMono-Bold', 'STIXGeneral', 'cmr10'):
        path = f'{matplotlib.get_data_path()}/fonts/ttf/{face}.ttf'
        font = ImageFont.truetype(path, 96)
        for character in CLASS_NAMES:
            left, top, right, bottom = font.getbbox(character)
            side = max(right - left, bottom - top)
            sheet = Image.new('L', (side, side))
            corner = ((side - right - left) / 2, (side - bottom - top) / 2)
            ImageDraw.Draw(sheet).text(corner, character, fill=255, font=font)
            templates.append(np.asarray(sheet.resize((24, 24), Image.Resampling.BOX)))
            names.append(CLASS_NAMES.index(character))

    def unit(array):
        flat = array.reshape(len(array), -1).astype(np.float64)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    nearest = (unit(images) @ unit(np.stack(templates)).T).argmax(axis=1)
    # Italic faces have no picture of their own here, and I and l can be one stroke.
    assert np.mean(np.array(names)[nearest] == labels) > 0.7


def test_every_face_draws_every_class_differently():
    """A face that lacked a character would draw the same box, or nothing, for each."""
    from ftjax.data.synthetic.glyphs import FONTS, glyph_atlas

    fields, widths, labels = glyph_atlas()
    assert len(fields) == len(CHARACTERS) * len(FONTS) - 10  # no old-style figures
    assert set(labels) == set(range(len(CLASS_NAMES)))
    assert (fields.max(axis=(1, 2)) > 0.02).all() and (widths > 0).all()
    assert (fields[:, 0, :] < 0).all() and (fields[:, :, 0] < 0).all()  # ink ends in the frame
    face = fields[: len(CHARACTERS)].reshape(len(CHARACTERS), -1) > 0
    assert len(np.unique(face, axis=0)) == len(CHARACTERS)


@pytest.mark.parametrize('share', [0.5, 0.8])
def test_size_is_the_longer_side(share):
    # The stroke is redrawn to a width of its own: bold characters lose some of their outline.
    drawn = plain(size=(share, share), stroke=(0.1, 0.1))
    images, _ = render_glyphs(512, seed=1, size=40, distortion=drawn)
    longer = np.maximum(*extents(images))
    low, median, high = np.percentile(longer, [5, 50, 98]) / (40 * share)
    assert low > 0.75 and abs(median - 1) < 0.06 and high < 1.1


def test_stroke_ink_and_noise_do_what_they_say():
    thin, _ = render_glyphs(256, seed=2, distortion=plain(stroke=(0.08, 0.08)))
    thick, _ = render_glyphs(256, seed=2, distortion=plain(stroke=(0.24, 0.24)))
    assert thick.mean() > 1.6 * thin.mean()
    dim, _ = render_glyphs(256, seed=2, distortion=plain(stroke=(0.24, 0.24), ink=(0.5, 0.5)))
    np.testing.assert_allclose(dim, thick / 2, atol=1)
    noisy, _ = render_glyphs(256, seed=2, distortion=plain(noise=(0.1, 0.1)))
    clean, _ = render_glyphs(256, seed=2, distortion=plain())
    background = noisy[(clean == 0) & (noisy > 0)] / 255
    # Half of a Gaussian of standard deviation .1: its mean is .1 sqrt(2 / pi).
    assert abs(background.mean() - 0.1 * np.sqrt(2 / np.pi)) < 0.005


def test_angle_slant_and_stretch_move_the_ink():
    upright, _ = render_glyphs(256, seed=4, size=40, distortion=plain(size=(0.5, 0.5)))
    rows, columns = extents(upright)
    for change in ({'angle': 60.0}, {'shear': 1.0}, {'stretch': 1.5}, {'warp': 0.3}):
        moved, _ = render_glyphs(256, seed=4, size=40, distortion=plain(size=(0.5, 0.5), **change))
        ratio = np.log(np.divide(*extents(moved)[::-1]) / (columns / rows))
        assert np.std(ratio) > 0.1, change


@pytest.mark.parametrize('count', [0, -3])
def test_no_images_is_refused(count):
    with pytest.raises(UserError, match=f'must be positive, not {count}'):
        render_glyphs(count)


def test_a_source_draws_other_images_where_it_is_asked():
    from ftjax.data.load import load_data
    from ftjax.data.settings import DataSettings

    drawn = {}
    for source in ('glyphs:600', 'glyphs:600,0', 'glyphs:600,1'):
        splits = load_data(DataSettings(source=source, val_fraction=0.2, test_fraction=0.2))
        parts = [splits.train.inputs, splits.val.inputs, splits.test.inputs]
        drawn[source] = {image.tobytes() for part in parts for image in part}
    assert drawn['glyphs:600'] == drawn['glyphs:600,0']
    assert drawn['glyphs:600,1'] == {image.tobytes() for image in render_glyphs(600, seed=1)[0]}
    assert not drawn['glyphs:600'] & drawn['glyphs:600,1']
