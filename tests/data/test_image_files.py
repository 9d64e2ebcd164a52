"""Decoding against Pillow used by hand, and every way in which a file can be bad."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ftjax.data import Dataset
from ftjax.data.audit.overview import seen_by
from ftjax.data.images.decode import decode, opened, resize_array, upright_size
from ftjax.data.images.geometry import Geometry, geometry_for, match_channels
from ftjax.data.images.verify import verify_images
from ftjax.data.masks.tiles import in_own_size, native
from ftjax.data.streams.loader import Loader
from ftjax.data.unlabelled.chunks import Reading, chunks
from ftjax.data.unlabelled.items import Item
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing


def photo(height, width, seed=0):
    """A smooth random picture: JPEG keeps it nearly as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image, kind='PNG', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def square(side, channels=3, **fields):
    return Geometry(height=side, width=side, channels=channels, **fields)


@pytest.mark.parametrize(
    'size, interpolation',
    [((60, 40), 'bilinear'), ((33, 57), 'bicubic'), ((32, 32), 'lanczos'), ((9, 20), 'nearest')],
)
def test_resize_and_centre_crop_by_hand(size, interpolation):
    image = photo(*size)
    scale = 16 / min(size)
    # torchvision's rule: the long side is cut to a whole number.
    height, width = (16 if s == min(size) else int(16 * s / min(size)) for s in size)
    assert abs(height - size[0] * scale) < 1 and abs(width - size[1] * scale) < 1
    resized = image.resize((width, height), Image.Resampling[interpolation.upper()])
    top, left = round((height - 16) / 2), round((width - 16) / 2)
    want = np.asarray(resized)[top : top + 16, left : left + 16]
    got = decode(saved(image), square(16, interpolation=interpolation))
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.uint8


def test_crop_fraction_resizes_beyond_the_crop():
    image = photo(70, 50)
    resized = image.resize((32, int(32 * 70 / 50)), Image.Resampling.BILINEAR)  # 28 / .875 = 32
    top, left = round((resized.height - 28) / 2), 2
    want = np.asarray(resized)[top : top + 28, left : left + 28]
    np.testing.assert_array_equal(decode(saved(image), square(28, crop_fraction=0.875)), want)


def test_squash_keeps_everything_and_no_aspect():
    image = photo(70, 50)
    want = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode(saved(image), square(16, squash=True)), want)


def test_squash_then_crop_cuts_the_centre_out():
    image = photo(70, 50)
    want = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))[2:30, 2:30]
    got = decode(saved(image), square(28, squash=True, crop_fraction=0.875))
    np.testing.assert_array_equal(got, want)


def test_a_target_that_is_not_square_is_covered():
    for size in ((40, 90), (90, 40), (41, 41), (7, 1000)):
        got = decode(saved(photo(*size)), Geometry(height=24, width=48, channels=3))
        assert got.shape == (24, 48, 3)
        assert got.min() >= 0 and (got.sum(-1) > 0).mean() > 0.9  # no black bars


def test_a_jpeg_unpacked_small_looks_like_one_unpacked_whole():
    data = saved(photo(1200, 900), 'JPEG', quality=95)
    whole = Image.open(io.BytesIO(data)).convert('RGB').resize((48, 64), Image.Resampling.BILINEAR)
    got = decode(data, square(48)).astype(int)
    assert np.abs(got - np.asarray(whole)[8:56]).max() <= 3


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF'])
def test_exif_orientation_is_applied(orientation, kind):
    image = photo(200, 300)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {'quality': 95} if kind == 'JPEG' else {}
    data = saved(image, kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data, None), np.asarray(upright))
    geometry = Geometry(height=20, width=32, channels=3)
    want = decode(saved(upright), geometry).astype(int)
    assert np.abs(decode(data, geometry) - want).max() <= (3 if kind == 'JPEG' else 1)
    assert upright_size(data) == upright.size[::-1]


def test_broken_exif_does_not_spoil_the_picture():
    data = saved(photo(20, 20), 'JPEG', exif=b'Exif\x00\x00rubbish')
    assert decode(data, square(8)).shape == (8, 8, 3)


def test_grey_transparent_palette_and_wide_images():
    grey = photo(8, 8).convert('L')
    np.testing.assert_array_equal(decode(saved(grey), None)[..., 1], np.asarray(grey))
    assert decode(saved(grey), None, channels=1).shape == (8, 8, 1)
    clear = Image.new('RGBA', (4, 4), (0, 0, 0, 0))
    assert (decode(saved(clear), None) == 255).all()
    palette = photo(8, 8).convert('P')
    np.testing.assert_array_equal(decode(saved(palette), None), np.asarray(palette.convert('RGB')))
    wide = Image.fromarray(np.array([[0, 256], [32768, 65535]], np.uint16))
    assert decode(saved(wide), None, channels=1)[..., 0].tolist() == [[0, 1], [128, 255]]


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'WEBP', 'GIF', 'TIFF', 'PPM'])
def test_every_listed_format_is_read(kind, tmp_path):
    (tmp_path / 'x').write_bytes(saved(photo(9, 11), kind))
    assert decode(str(tmp_path / 'x'), None).shape == (9, 11, 3)
    with opened(str(tmp_path / 'x'), 'x') as image:
        assert (image.height, image.width) == (9, 11)


def test_luma_is_pillows():
    images = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    want = np.asarray(Image.fromarray(images).convert('L'))
    np.testing.assert_array_equal(match_channels(images, 1)[..., 0], want)
    np.testing.assert_array_equal(match_channels(images[..., :1], 3)[..., 2], images[..., 0])
    with pytest.raises(UserError, match='4 channels'):
        match_channels(np.zeros((2, 2, 4), np.uint8), 3)


def test_arrays_are_resized_like_files():
    image = photo(40, 52)
    got = resize_array(np.asarray(image), square(16))
    np.testing.assert_array_equal(got, decode(saved(image), square(16)))
    floats = resize_array(np.asarray(image, np.float32) / 255, square(16))
    assert floats.dtype == np.float32
    assert np.abs(floats - got / 255).max() < 2 / 255
    many = np.random.default_rng(0).integers(0, 256, (12, 12, 5), dtype=np.uint8)
    assert resize_array(many, square(6, 5)).shape == (6, 6, 5)


def test_files_are_read_in_grey_for_a_network_of_colours_as_arrays_are(tmp_path):
    image, colours = photo(9, 12), Preprocessing(image_size=(9, 12), resize='squash')
    path = tmp_path / 'x.png'
    image.save(path)
    want = np.repeat(np.asarray(image.convert('L'))[..., None], 3, axis=2)
    data = Dataset(
        name='d', kind='image_file', inputs=[str(path)], labels=[0], class_names='x', channels=1
    )
    np.testing.assert_array_equal(Loader(data, None, colours).example(0), want)
    assert seen_by(data, colours).endswith('12 pixels in RGB, made from 9 x 12 pixels in grey')
    for value in (str(path), np.asarray(image)):
        found = chunks([Item('x', value)], Reading(colours, channels=1), lambda _: None)
        (batch,) = next(iter(found)).batches
        np.testing.assert_array_equal(batch['inputs'][0], want)
        np.testing.assert_array_equal(in_own_size(value, 3, grey=True), want)
    np.testing.assert_array_equal(native(data, 0, 3), want)
    assert native(data, 0).shape == (9, 12, 1)


def test_an_array_of_the_networks_size_is_cropped_as_a_file_is():
    image = photo(28, 28)
    array, geometry = np.asarray(image), square(28, crop_fraction=0.875)
    want = decode(saved(image), geometry)
    np.testing.assert_array_equal(resize_array(array, geometry), want)
    assert not np.array_equal(want, array)
    assert resize_array(array, square(28)) is array  # without a crop it stays as it is
    for fraction, expected in ((0.875, want), (1.0, array)):
        preprocessing = Preprocessing(image_size=(28, 28), crop_fraction=fraction)
        data = Dataset(
            name='a', kind='image', inputs=array[None], labels=np.zeros(1), class_names=('x',)
        )
        np.testing.assert_array_equal(Loader(data, None, preprocessing).example(0), expected)


def test_the_networks_preprocessing_decides_the_geometry():
    class Files:
        kind, name, channels = 'image_file', 'files', None

    preprocessing = Preprocessing(
        image_size=(20, 24), mean=(0,), std=(1,), channels=1, interpolation='bicubic',
        crop_fraction=0.9,
    )  # fmt: skip
    got = geometry_for(Files, None, preprocessing)
    assert got == Geometry(
        height=20, width=24, channels=1, interpolation='bicubic', crop_fraction=0.9
    )
    assert geometry_for(Files, (8, 8), preprocessing).shape == (8, 8, 1)
    squash = Preprocessing(image_size=(20, 24), resize='squash')
    assert geometry_for(Files, None, squash).squash
    with pytest.raises(UserError, match=r'set data\.image_size'):
        geometry_for(Files, None, None)


@pytest.fixture
def bad(tmp_path):
    """Files that are broken, by how."""
    whole = saved(photo(200, 200), 'JPEG')
    contents = {
        'empty.jpg': b'',
        'text.jpg': b'this is no image',
        'short.jpg': whole[: len(whole) // 2],
        'short.png': saved(photo(90, 90))[:2000],
        'bomb.png': _bomb(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def _bomb():
    """A valid header of a PNG of 60,000 x 60,000 pixels."""
    import struct
    import zlib

    header = b'IHDR' + struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + header + struct.pack('>I', zlib.crc32(header))
    return b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', 0) + b'IDAT' + bytes(4)


@pytest.mark.parametrize('name', ['empty.jpg', 'text.jpg', 'short.jpg', 'short.png', 'bomb.png'])
def test_a_bad_file_is_named_with_the_remedy(bad, name):
    with pytest.raises(UserError) as error:
        decode(bad[name], square(16))
    message = str(error.value)
    assert bad[name] in message and '\n' not in message
    assert ('make it smaller' if 'bomb' in name else 'replace or remove') in message


def test_headers_find_what_is_no_image_and_decoding_what_is_cut_short(bad, tmp_path):
    for name in ('empty.jpg', 'text.jpg', 'bomb.png'):
        with pytest.raises(UserError, match=name):
            verify_images([bad[name]], 'headers')
    verify_images([bad['short.jpg']], 'headers')
    for how in ('decode', 'auto'):
        with pytest.raises(UserError, match=r'short\.jpg.*1 more broken'):
            verify_images([bad['short.jpg'], bad['short.png']], how)


def test_a_large_but_allowed_image_is_not_mistaken_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr('ftjax.data.images.decode.MAX_PIXELS', 99)
    data = saved(photo(10, 10))
    with pytest.raises(UserError, match='10 x 10 is more than 99 pixels'):
        decode(data, square(4))
    monkeypatch.setattr('ftjax.data.images.decode.MAX_PIXELS', 100)
    assert decode(data, square(4)).shape == (4, 4, 3)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r'gone\.jpg: no such image file'):
        decode(str(tmp_path / 'gone.jpg'), square(4))
