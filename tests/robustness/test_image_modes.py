"""Every mode that an image file may have: the right pixels, or a refusal that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.images.decode import MAX_PIXELS, decode
from ftjax.data.images.modes import Whites
from ftjax.data.images.verify import verify_images
from ftjax.data.streams.loader import Loader
from ftjax.errors import UserError

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (32, 1))


def png(depth, colour, rows, *chunks):
    """A PNG of rows of big-endian samples, of a kind that Pillow does not write."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    header = struct.pack('>IIBBBBB', rows.shape[1] // channels, len(rows), depth, colour, 0, 0, 0)
    rows = rows.astype('>u2' if depth == 16 else np.uint8)
    raw = b''.join(b'\0' + row.tobytes() for row in rows)
    parts = [
        chunk(b'IHDR', header),
        *chunks,
        chunk(b'IDAT', zlib.compress(raw)),
        chunk(b'IEND', b''),
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def saved(image, kind='PNG', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    'name, array',
    [
        ('8 bits', RAMP),
        ('16 bits, full range', RAMP.astype(np.uint16) * 257),
        ('12 bits in 16', RAMP.astype(np.uint16) * 16),
        ('10 bits in 16', RAMP.astype(np.uint16) * 4),
        ('8 bits in 16', RAMP.astype(np.uint16)),
        ('int32 to 255', RAMP.astype(np.int32)),
        ('int32 to 65535', RAMP.astype(np.int32) * 257),
        ('float to 1', RAMP.astype(np.float32) / 255),
        ('float to 255', RAMP.astype(np.float32)),
        ('float to 65535', RAMP.astype(np.float32) * 257),
    ],
)
@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_grey_of_any_depth_is_the_same_ramp(name, array, kind):
    if kind == 'PNG' and array.dtype not in (np.uint8, np.uint16):
        pytest.skip('a PNG holds 8 or 16 bits')
    data = saved(Image.fromarray(array), kind)
    np.testing.assert_array_equal(decode(data, None, 1)[..., 0], RAMP)
    np.testing.assert_array_equal(decode(data, None, 3)[..., 2], RAMP)


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.0, 1e6])
def test_floats_that_are_no_grey_are_refused(value, tmp_path):
    pixels = RAMP.astype(np.float32)
    pixels[3, 5] = value
    path = str(tmp_path / 'x.tif')
    Image.fromarray(pixels).save(path)
    for read in (lambda: decode(path, None), lambda: verify_images([path], 'headers')):
        with pytest.raises(UserError, match=r'x\.tif: (holds pixels that are no|pixels are in)'):
            read()


def test_hounsfield_units_are_refused(tmp_path):
    path = str(tmp_path / 'ct.tif')
    Image.fromarray(RAMP.astype(np.int32) - 1024).save(path)
    with pytest.raises(UserError, match=r'ct\.tif: pixels are in -1024 .. -769'):
        decode(path, None)


def deep_folder(folder, *tops):
    for name in 'ab':
        (folder / name).mkdir(parents=True)
        for i, top in enumerate(tops):
            image = Image.fromarray((RAMP.astype(np.float64) / 255 * top).astype(np.uint16))
            image.save(folder / name / f'{i}.png')
    return f'folder:{folder}'


def test_white_is_decided_once_for_a_data_set_and_said(tmp_path):
    source = deep_folder(tmp_path / 'd', 4080, 510, 4080, 510)
    splits = load_data(DataSettings(source=source, verify='headers', image_size=(32, 32)))
    assert splits.train.whites == Whites(whole=4095)
    told = [note for note in splits.notes if 'more than 8 bits' in note]
    assert told == [
        '8 image files hold more than 8 bits a pixel: the largest is 4080, and 4095 is read as '
        'white'
    ]
    # A dark picture stays eight times darker than a bright one.
    every = [splits.train, splits.val, splits.test]
    tops = {
        str(i).split('/')[1]: Loader(part, (32, 32)).example(n).max()
        for part in every
        for n, i in enumerate(part.ids)
    }
    assert tops['0.png'] == 255 and tops['1.png'] == 31


def test_what_counts_as_white_is_part_of_the_fingerprint(tmp_path):
    source = deep_folder(tmp_path / 'd', 510, 510, 510, 510)
    before = load_data(DataSettings(source=source, examples_per_class=1))
    image = Image.fromarray(np.full((32, 32), 60000, np.uint16))
    test = load_data(DataSettings(source=source)).test.inputs[0]
    image.save(test)
    after = load_data(DataSettings(source=source, examples_per_class=1))
    assert before.train.ids.tolist() == after.train.ids.tolist()
    assert before.train.fingerprint != after.train.fingerprint


def test_sixteen_bits_a_channel_that_hold_twelve_are_refused(tmp_path):
    rows = np.repeat(RAMP.astype('>u2'), 3, axis=1)
    np.testing.assert_array_equal(decode(png(16, 2, rows * 257), None)[..., 1], RAMP)
    for name in 'ab':
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f'{i}.png').write_bytes(png(16, 2, rows * 16))
    with pytest.raises(UserError, match=r'a/0\.png: has 16 bits a channel.*more than 15 of 255'):
        load_data(DataSettings(source=f'folder:{tmp_path}'))


def test_a_transparent_value_of_deep_grey_is_white():
    clear = struct.pack('>H', 16 * 257)
    data = struct.pack('>I', 2) + b'tRNS' + clear
    data += struct.pack('>I', zlib.crc32(b'tRNS' + clear))
    image = png(16, 0, RAMP.astype('>u2') * 257, data)
    want = np.where(RAMP == 16, 255, RAMP)
    np.testing.assert_array_equal(decode(image, None, 1)[..., 0], want)


def test_bits_grey_and_colour_modes():
    bits = Image.fromarray(RAMP > 127)
    np.testing.assert_array_equal(decode(saved(bits), None, 1)[..., 0], (RAMP > 127) * 255)
    ink = Image.new('CMYK', (8, 8), (0, 255, 255, 0))
    for kind in ('JPEG', 'TIFF'):
        assert np.abs(decode(saved(ink, kind), None)[0, 0].astype(int) - (255, 0, 0)).max() <= 2
        assert abs(int(decode(saved(ink, kind), None, 1)[0, 0, 0]) - 76) <= 2  # luma of red
    grey = Image.merge('LA', (Image.fromarray(RAMP), Image.new('L', (32, 32), 0)))
    assert (decode(saved(grey), None) == 255).all()


def test_a_palette_with_alpha_lies_on_white():
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), 'P')
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    for data in (saved(image, transparency=bytes([255, 0, 255, 128])),):
        got = decode(data, None)
        assert got[0].tolist() == [[255, 0, 0], [255, 255, 255]]
        assert got[1, 0].tolist() == [0, 0, 255] and abs(int(got[1, 1, 0]) - 132) <= 1


@pytest.mark.parametrize(
    'kind, suffix', [('GIF', 'gif'), ('PNG', 'apng'), ('WEBP', 'webp'), ('TIFF', 'tif')]
)
def test_of_an_animation_the_first_picture_is_read_and_that_is_said(kind, suffix, tmp_path):
    frames = [Image.new('RGB', (16, 16), colour) for colour in ('red', 'blue')]
    options = {'lossless': True} if kind == 'WEBP' else {}
    path = tmp_path / f'x.{suffix}'
    path.write_bytes(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert decode(str(path), None)[3, 3].tolist() == [255, 0, 0]
    for how in ('headers', 'decode'):
        assert verify_images([str(path)], how).notes == (
            '1 image file is animated or of several pages: the first picture is read',
        )
    path.write_bytes(saved(frames[0], kind))
    assert verify_images([str(path)]).notes == ()


def test_the_phones_second_picture_in_a_jpeg_is_not_said(tmp_path):
    frames = [Image.new('RGB', (16, 16), colour) for colour in ('red', 'blue')]
    frames[0].save(tmp_path / 'x.jpg', 'MPO', save_all=True, append_images=frames[1:])
    assert verify_images([str(tmp_path / 'x.jpg')]).notes == ()


TURNED = {1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a, -1), 8: np.rot90}


@pytest.mark.parametrize('tag', TURNED)
@pytest.mark.parametrize('compression', ['raw', 'tiff_lzw', 'tiff_adobe_deflate', 'packbits'])
@pytest.mark.parametrize('dtype', ['L', 'RGB', 'I;16'])
def test_a_turned_tiff_is_upright_by_path_and_by_bytes(tag, compression, dtype, tmp_path):
    pixels = (np.arange(20 * 32).reshape(20, 32) % 251).astype(np.uint8)
    stored = {
        'L': pixels,
        'RGB': np.stack([pixels] * 3, -1),
        'I;16': pixels.astype(np.uint16) * 257,
    }
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / 'x.tif'
    Image.fromarray(stored[dtype]).save(path, exif=exif, compression=compression)
    for source in (str(path), path.read_bytes()):
        np.testing.assert_array_equal(decode(source, None, 1)[..., 0], TURNED[tag](pixels))


def test_images_without_pixels_and_images_that_grow_beyond_all_limits(tmp_path):
    whole = bytearray(saved(Image.new('RGB', (4, 4)), 'BMP'))
    whole[22:26] = bytes(4)
    for name, data in {
        'flat.bmp': bytes(whole),
        'thin.ppm': b'P6 0 4 255\n',
        'flat.png': png(8, 0, np.zeros((0, 4), np.uint8)),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            verify_images([str(tmp_path / name)], 'headers')
    # One pixel high and a hundred thousand wide: 24 high it would be 2.4 million wide.
    from ftjax.data.images.geometry import Geometry

    line = saved(Image.new('L', (100_000, 1)))
    with pytest.raises(UserError, match=f'is more than {MAX_PIXELS:,} pixels'):
        decode(line, Geometry(height=64, width=64, channels=1), name='line.png')


@pytest.mark.parametrize('suffix, kind', [('jfif', 'JPEG'), ('jpe', 'JPEG'), ('avif', 'AVIF')])
def test_other_names_of_formats_are_read(suffix, kind, tmp_path):
    for name, shade in (('a', 0), ('b', 200)):
        (tmp_path / name).mkdir()
        for i in range(4):
            data = saved(Image.new('RGB', (16, 16), (shade, 0, i)), kind)
            (tmp_path / name / f'{i}.{suffix}').write_bytes(data)
    splits = load_data(DataSettings(source=f'folder:{tmp_path}', test_fraction=0.25))
    assert len(splits.train) + len(splits.val) + len(splits.test) == 8
