"""Masks: what their values mean, folders of them, checks, resizing, and joint augmentation."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from ftjax.data import Dataset, load_data
from ftjax.data.audit.quick import quick_audit
from ftjax.data.images import decode as decoding
from ftjax.data.images.decode import decode, upright_size
from ftjax.data.images.geometry import Geometry
from ftjax.data.labels.pixels import PixelClasses
from ftjax.data.masks.mask import MaskFile, MaskPixels, masks, nearest
from ftjax.data.masks.mask_values import MaskValues
from ftjax.data.masks.palette import colours, painted
from ftjax.data.masks.tiles import corners, tiled
from ftjax.data.settings import DataSettings
from ftjax.data.streams.evaluation_batches import eval_batches
from ftjax.data.streams.train_stream import TrainStream
from ftjax.errors import UserError
from ftjax.evaluation import sliding
from ftjax.preprocessing.images import Preprocessing
from ftjax.runs.prediction import mask_files
from ftjax.serving.bundle.image_inputs import WindowReader

SIZES = ((6, 8), (5, 5), (7, 4), (6, 6))
PALETTE = ('#000000', '#ff0000', '#00ff00')


def picture(rng, size):
    return Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8))


def made(root, mode='P', names=('a', 'b', 'c', 'deep/d'), below=('images', 'masks')):
    """Four images with masks of the values 0, 1, 2 and 255; what the masks hold."""
    rng, found = np.random.default_rng(0), {}
    for name, size in zip(names, SIZES, strict=True):
        mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        found[name] = mask
        for folder in below:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(rng, size).save(root / below[0] / f'{name}.jpg')
        image = Image.fromarray(mask)
        if mode == 'P':
            image.putpalette([*range(256)] * 3)
        image.save(root / below[1] / f'{name}.png')
    return found


def settings(root, **more):
    return DataSettings(
        **{
            'source': f'masks:{root}',
            'task': 'segmentation',
            'test_fraction': 0.0,
            'val_fraction': 0.0,
            **more,
        }
    )


@pytest.mark.parametrize('mode', ['P', 'L'])
def test_a_folder_gives_each_image_its_mask(tmp_path, mode):
    expected = made(tmp_path, mode)
    (tmp_path / 'classes.txt').write_text('sky\nsea\nland\n')
    train = load_data(settings(tmp_path)).train
    assert train.class_names == ('sky', 'sea', 'land') and train.num_outputs == 3
    assert train.ids.tolist() == [f'images/{name}.jpg' for name in expected]
    for mask, values in zip(train.labels, expected.values(), strict=True):
        np.testing.assert_array_equal(mask.read(), values)
    assert train.label_kind.told(train.labels[0], train.class_names) == 'sky, sea, land'


def test_without_names_the_values_are_the_classes(tmp_path):
    made(tmp_path)
    assert load_data(settings(tmp_path)).train.class_names == ('0', '1', '2')


def test_an_ignored_value_below_the_others_is_left_out_of_the_classes(tmp_path):
    expected = made(tmp_path)
    for path in (tmp_path / 'masks').rglob('*.png'):
        values = np.array(Image.open(path))
        Image.fromarray(np.where(values == 255, 0, values)).save(path)
    train = load_data(settings(tmp_path, ignore_index=0)).train
    assert train.class_names == ('1', '2')
    first = np.where(expected['a'] == 255, 0, expected['a'])
    np.testing.assert_array_equal(train.labels[0].read(), np.choose(first, [255, 0, 1]))


def test_masks_in_colour_are_read_by_a_palette(tmp_path):
    expected = made(tmp_path)
    table = colours(3, PALETTE)
    for name, mask in expected.items():
        plain = np.where(mask == 255, 0, mask)
        Image.fromarray(table[plain]).save(tmp_path / 'masks' / f'{name}.png')
    train = load_data(settings(tmp_path, palette=PALETTE)).train
    wanted = np.where(expected['a'] == 255, 0, expected['a'])
    np.testing.assert_array_equal(train.labels[0].read(), wanted)
    with pytest.raises(UserError, match=r'the colour #00ff00 of row \d+, column \d+ is none of'):
        load_data(settings(tmp_path, palette=PALETTE[:2]))
    with pytest.raises(UserError, match='a mask in colour; set data'):
        load_data(settings(tmp_path))


def test_an_indexed_mask_of_the_palettes_colours_in_another_order_is_refused(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([255, 128, 0, 0, 0, 0])
    image.save(tmp_path / 'a.png')

    def read(*palette):
        return MaskFile(str(tmp_path / 'a.png'), MaskValues(2, 255, palette)).read().tolist()

    with pytest.raises(UserError, match='index 0 means class 0, and its colour #ff8000 is that of'):
        read('#000000', '#ff8000')
    assert read('#ff8000', '#000000') == [[0, 1]]
    assert read('#0000ff', '#000000') == read() == [[0, 1]]  # colours to paint with


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_a_mask_that_lies_on_its_side_is_turned_as_its_image(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, values = tmp_path / f'a.{kind}', np.array([[0, 1, 2], [1, 1, 0]], np.uint8)
    Image.fromarray(values).save(path, exif=exif)
    mask = MaskFile(str(path), MaskValues(3))
    assert mask.read().tolist() == decode(str(path), None, 1)[..., 0].tolist()
    assert mask.read().shape == upright_size(str(path))


def test_splits_stand_above_or_below_the_two_folders(tmp_path):
    for split in ('train', 'val'):
        made(tmp_path / 'above' / split)
        made(tmp_path / 'below', below=(f'images/{split}', f'annotations/{split}'))
    for root in (tmp_path / 'above', tmp_path / 'below'):
        splits = load_data(settings(root))
        assert (len(splits.train), len(splits.val), len(splits.test)) == (4, 4, 0)
        assert splits.train.ids[0] != splits.val.ids[0]


def broken(root, what):
    """One fault in a folder that was good."""
    images, labels = root / 'images', root / 'masks'
    if what == 'missing':
        (labels / 'b.png').unlink()
    elif what == 'size':
        Image.fromarray(np.zeros((3, 9), np.uint8)).save(labels / 'b.png')
    elif what == 'value':
        Image.fromarray(np.full((5, 5), 7, np.uint8)).save(labels / 'b.png')
    elif what == 'jpeg':
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(labels / 'b.jpg')
        (labels / 'b.png').unlink()
    elif what == 'deep':
        Image.fromarray(np.zeros((5, 5), np.uint16)).save(labels / 'b.png')
    elif what == 'cut':
        data = (labels / 'a.png').read_bytes()
        (labels / 'a.png').write_bytes(data[: len(data) // 2])
    elif what == 'twice':
        picture(np.random.default_rng(0), (5, 5)).save(images / 'b.png')
    else:
        labels.rename(root / 'else')


@pytest.mark.parametrize(
    ('what', 'words'),
    [
        ('missing', r'b\.jpg: has no mask in .*masks; expected a PNG file of the same name'),
        ('size', r'b\.png is 3 x 9 pixels and its image .*b\.jpg 5 x 5 pixels'),
        ('value', r'b\.png: the value 7 of row 0, column 0 is no class; expected 0 to 2, or data'),
        ('jpeg', r'b\.jpg: a JPEG changes values; masks are PNG files'),
        ('deep', r'b\.png: a mask of mode I;16; expected 8 bits'),
        ('cut', r'a\.png: '),
        ('twice', r'have one name; expected one file of each'),
        ('folder', r'expected images/ and masks/ in it'),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_before_anything_is_trained(tmp_path, what, words):
    made(tmp_path)
    broken(tmp_path, what)
    with pytest.raises(UserError, match=words):
        load_data(settings(tmp_path, class_names=('sky', 'sea', 'land')))


def test_masks_without_image_are_passed_over_and_said(tmp_path):
    made(tmp_path)
    (tmp_path / 'images' / 'a.jpg').unlink()
    splits = load_data(settings(tmp_path))
    assert len(splits.train) == 3
    assert 'masks: passed over 1 masks without image' in splits.notes


def test_an_image_that_lies_on_its_side_has_the_size_of_its_mask(tmp_path):
    made(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(np.random.default_rng(0), (8, 6)).save(tmp_path / 'images' / 'a.jpg', exif=exif)
    assert len(load_data(settings(tmp_path)).train) == 4


def test_the_fingerprint_holds_the_pixels_of_the_masks(tmp_path):
    made(tmp_path)
    before = load_data(settings(tmp_path)).train.fingerprint
    assert load_data(settings(tmp_path)).train.fingerprint == before
    path = tmp_path / 'masks' / 'a.png'
    values = np.array(Image.open(path))
    values[0, 0] = 1 - min(values[0, 0], 1)
    Image.fromarray(values).save(path)
    assert load_data(settings(tmp_path)).train.fingerprint != before


def test_arrays_of_masks_are_checked(tmp_path):
    x = np.zeros((6, 4, 4, 1), np.uint8)
    y = np.arange(96).reshape(6, 4, 4) % 3
    path, more = tmp_path / 'd.npz', {'test_fraction': 0.2, 'val_fraction': 0.2}

    def read(**arrays):
        np.savez(path, **arrays)
        return load_data(settings('', source=f'npz:{path}', **more))

    assert read(x=x, y=y, class_names=['a', 'b', 'c']).train.class_names == ('a', 'b', 'c')
    assert read(x=x, y=y).train.num_outputs == 3
    with pytest.raises(UserError, match='000000: the mask is 4 x 3 pixels and its'):
        read(x=x, y=y[:, :, :3])
    with pytest.raises(UserError, match=r'y\[0\]: the value 2 of row 0, column 2 is no class'):
        read(x=x, y=y, class_names=['a', 'b'])
    with pytest.raises(UserError, match='masks are float64'):
        read(x=x, y=y / 2)
    more['ignore_index'] = 0  # as in files: 1 is the first class
    found = read(x=x, y=y).train
    assert found.class_names == ('1', '2')
    given = y[int(found.ids[0])]
    np.testing.assert_array_equal(found.labels[0].read(), np.where(given == 0, 255, given - 1))
    more['ignore_index'] = None
    with pytest.raises(UserError, match='256 classes'):
        read(x=x, y=np.where(y == 2, 255, y))


def arrays(count=5, side=6):
    rng = np.random.default_rng(0)
    return Dataset(
        name='d',
        kind='image',
        inputs=rng.integers(0, 255, (count, side, side, 1), np.uint8),
        labels=masks([MaskPixels(m) for m in rng.integers(0, 3, (count, side, side), np.uint8)]),
        class_names='abc',
        task='segmentation',
    )


def test_batches_hold_masks_at_the_images_size_and_evaluations_their_own_too():
    data, half = arrays(), Preprocessing(image_size=(3, 3), mean=(0.5,), std=(0.5,), channels=1)
    batch = TrainStream(data, 2, 0, preprocessing=half).batch(0)
    assert batch['labels'].shape == (2, 3, 3) and batch['labels'].dtype == np.uint8
    assert set(batch) == {'inputs', 'labels', 'index', 'mask'}
    for batch in eval_batches(data, 2, preprocessing=half):
        for own, sized, index in zip(batch['masks'], batch['labels'], batch['index'], strict=True):
            np.testing.assert_array_equal(own.read(), data.labels[index].read())
            np.testing.assert_array_equal(sized, own.read()[1::2, 1::2])
    assert batch['mask'].tolist() == [1, 0]


@pytest.mark.parametrize('size', [(3, 3), (7, 8), (12, 4), (5, 6)])
def test_masks_are_resized_as_pillow_resizes_to_the_nearest(size):
    mask = np.random.default_rng(0).integers(0, 9, (5, 6), np.uint8)
    expected = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(nearest(mask, size), expected)


@pytest.mark.parametrize('palette', [('#12345',), ('red',), ('#FF0000', '#ff0000')])
def test_a_palette_holds_different_colours(palette):
    with pytest.raises(UserError, match=r'data\.palette holds'):
        DataSettings(task='segmentation', palette=palette)


def test_a_painted_image_shows_the_image_where_no_pixel_is_counted():
    image = np.full((1, 3, 1), 100, np.uint8)
    mask = np.array([[0, 1, 255]], np.uint8)
    found = painted(image, mask, np.array([[0, 0, 0], [200, 0, 0]], np.uint8))
    assert found[0, 2].tolist() == [100, 100, 100]
    assert found[0, 1].tolist() == [155, 45, 45] and found[0, 0].tolist() == [45, 45, 45]


def test_values_of_masks_in_files_are_read_again_when_a_batch_asks(tmp_path):
    made(tmp_path)
    splits = load_data(settings(tmp_path, verify='none', class_names=('a', 'b', 'c')))
    path = pathlib.Path(splits.train.labels[0].path)
    Image.fromarray(np.full((6, 8), 9, np.uint8)).save(path)
    stream = TrainStream(splits.train, 4, 0, image_size=(4, 4))
    with pytest.raises(UserError, match=r'a\.png: the value 9 of row 0, column 0 is no class'):
        stream.batch(0)
    assert dataclasses.replace(splits.train.labels[0], path='x').values == MaskValues(3)


def test_windows_cover_an_image_and_a_split_is_cut_into_them():
    data = arrays(2, 6)
    cut = tiled(data, (4, 4), 0.25)
    places = [(0, 0), (0, 2), (2, 0), (2, 2)]
    assert corners((6, 6), (4, 4), 0.25) == places and len(cut) == 8
    assert cut.ids[1] == '000000 0,2' and cut.class_names == data.class_names
    for number, (top, left) in enumerate(places):
        where = slice(top, top + 4), slice(left, left + 4)
        np.testing.assert_array_equal(cut.inputs[number], data.inputs[0][where])
        np.testing.assert_array_equal(cut.labels[number].read(), data.labels[0].read()[where])
    large = tiled(data, (8, 7), 0.0)
    assert large.inputs.shape == (2, 8, 7, 1)
    mask = large.labels[0].read()
    np.testing.assert_array_equal(mask[:6, :6], data.labels[0].read())
    assert (mask[6:] == 255).all() and (mask[:, 6:] == 255).all()


def test_sliding_needs_the_size_of_a_window():
    with pytest.raises(UserError, match=r'data\.sliding needs data\.image_size'):
        DataSettings(task='segmentation', sliding=0.5)


def test_masks_of_0_and_255_do_not_pass_for_one_class_that_is_always_right():
    binary = np.zeros((2, 4, 4), np.uint8)
    binary[:, :, 3:] = 255
    labels = masks([MaskPixels(each) for each in binary])
    kind = PixelClasses()
    with pytest.raises(UserError, match=r"one class only \('back'\), and 25% .*write 1 for 255"):
        kind.check_training('train', labels, ('back', 'box'))
    binary[1, 0, 0] = 1
    kind.check_training('train', masks([MaskPixels(each) for each in binary]), ('back', 'box'))
    kind.check_training('train', labels[:0], ('back', 'box'))


def test_with_windows_the_images_that_they_are_of_are_audited(tmp_path):
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 255, (6, 24, 24, 3), np.uint8)
    for part, count in (('train', 6), ('val', 2), ('test', 3)):
        for i in range(count):
            for folder in ('images', 'masks'):
                (tmp_path / part / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(seen[i]).save(tmp_path / part / 'images' / f'{part}{i}.png')
            mask = Image.fromarray(rng.integers(0, 2, (24, 24), np.uint8))
            mask.save(tmp_path / part / 'masks' / f'{part}{i}.png')
    asked = {'image_size': (16, 16), 'val_fraction': 0.2, 'test_fraction': 0.2}
    whole = load_data(settings(tmp_path, **asked))
    slid = load_data(settings(tmp_path, sliding=0.25, **asked))
    assert len(slid.val) > len(whole.val) == 2
    assert quick_audit(slid).leaks() == quick_audit(whole).leaks()
    assert quick_audit(slid).leaks()['test']['exact'] == 3
    assert quick_audit(slid).leaks()['val'] == {'n': 2, 'exact': 2, 'near': 0}


def test_with_windows_scans_show_the_values_that_are_asked_for(tmp_path, monkeypatch):
    def shown(data, name, window=None):
        image = Image.new('L', (9, 12), 200 if window == (40.0, 400.0) else 10)
        image.format, image.tile = 'DICOM', []
        return image

    monkeypatch.setattr(decoding, 'dicom_image', shown)
    scan = b'\0' * 128 + b'DICM'
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(6):
        (tmp_path / 'images' / f'{i}.dcm').write_bytes(scan + bytes([i]))
        mask = np.random.default_rng(i).integers(0, 2, (12, 9), np.uint8)
        Image.fromarray(mask).save(tmp_path / 'masks' / f'{i}.png')
    asked = settings(
        tmp_path, image_size=(8, 8), sliding=0.25, window=(40.0, 400.0), test_fraction=0.34
    )
    data = load_data(asked)
    assert {*data.train.inputs.reshape(-1).tolist()} == {200}
    seen = []

    def noted(network, variables, batches, *rest, **more):
        seen.extend(batch['inputs'] for batch in batches)
        return iter(())

    monkeypatch.setattr(sliding, 'predict', noted)
    monkeypatch.setattr(mask_files, 'predict', noted)
    found = Preprocessing(image_size=(8, 8), window=(40.0, 400.0))
    list(sliding.window_outputs(None, None, data.test, asked, found, 4, False))
    assert len(seen)
    trained = types.SimpleNamespace(
        settings=asked, preprocessing=found, whites=None, network=None, placed=None
    )
    list(mask_files.slid(trained, str(tmp_path / 'images'), print))
    geometry = Geometry(height=8, width=8, channels=3, window=(40.0, 400.0))
    rows = WindowReader(geometry, 'uint8', overlap=0.25).rows(scan)
    seen += [row['images'] for row in rows.rows]
    assert all((images == 200).all() for images in seen) and len(seen) >= 6
