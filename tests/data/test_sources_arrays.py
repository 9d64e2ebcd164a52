"""Arrays in .npz files, and the built-in sources."""

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / 'd.npz', **arrays)
        return f'npz:{tmp_path}/d.npz'

    return save


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source, **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


def test_arrays_come_back_as_they_are(save):
    data = read_source(DataSettings(source=save(x=IMAGES, y=LABELS))).train
    np.testing.assert_array_equal(data.inputs, IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.class_names == ('0', '1', '2')


def test_names_are_ids_when_there_is_one_an_example(save):
    ids = np.array([f'img{i}'.encode() for i in range(12)])
    data = read_source(DataSettings(source=save(x=IMAGES, y=LABELS, names=ids))).train
    assert data.ids.tolist() == [f'img{i}' for i in range(12)]
    assert data.class_names == ('0', '1', '2')
    data = read_source(
        DataSettings(source=save(x=IMAGES, y=LABELS, names=np.array(list('abc'))))
    ).train
    assert data.class_names == ('a', 'b', 'c')


def test_given_splits_grey_images_and_class_names(save):
    grey = IMAGES[..., 0]
    source = save(
        x_train=grey, y_train=LABELS, x_test=grey[:6] // 2, y_test=LABELS[:6, None],
        class_names=np.array(['u', 'v', 'w']),
    )  # fmt: skip
    splits = load_data(DataSettings(source=source, val_fraction=0.25))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (9, 3, 6)
    np.testing.assert_array_equal(splits.test.inputs[..., 0], grey[:6] // 2)
    assert splits.class_names == ('u', 'v', 'w')


def test_floats_texts_and_values(save):
    data = read_source(DataSettings(source=save(x=IMAGES / 255, y=LABELS))).train
    assert data.inputs.dtype == np.float32
    data = read_source(DataSettings(source=save(x=IMAGES.astype(int), y=LABELS))).train
    assert data.inputs.dtype == np.uint8
    texts = np.array([f'text {i}' for i in range(12)])
    data = read_source(DataSettings(source=save(x=texts, y=np.array(list('ba') * 6)))).train
    assert (data.kind, data.inputs[3]) == ('text', 'text 3')
    assert (data.class_names, data.labels[0]) == (('a', 'b'), 1)
    data = read_source(DataSettings(source=save(x=IMAGES, y=LABELS / 4), task='regression')).train
    np.testing.assert_array_equal(data.labels, (LABELS / 4).astype(np.float32))


@pytest.mark.parametrize(
    'arrays, words',
    [
        ({'x': IMAGES}, ["no array 'y'"]),
        ({'images': IMAGES, 'y': LABELS}, ["no array 'x'", 'images']),
        ({'x': IMAGES, 'y': LABELS[:5]}, ['(12, 6, 5, 3)', '(5,)', 'one label per example']),
        ({'x': IMAGES, 'y': np.eye(3)[LABELS]}, ['(12, 3)', 'one label per example']),
        ({'x': IMAGES, 'y': LABELS + 0.5}, ['float64', 'regression']),
        ({'x': IMAGES, 'y': np.full(12, np.nan)}, ['whole number']),
        ({'x': IMAGES, 'y': LABELS - 1}, ['label -1 of row 1 (counted from 1)', 'out of range']),
        ({'x': IMAGES, 'y': LABELS * 2}, ["class '1' has no training example"]),
        (
            {'x': IMAGES, 'y': LABELS, 'class_names': np.array(['a', 'b'])},
            ['label 2 of row 3 (counted from 1)'],
        ),
        ({'x': IMAGES / 10, 'y': LABELS}, ['0..1', 'normalisation']),
        ({'x': IMAGES / np.nan, 'y': LABELS}, ['nan', '0..1']),
        ({'x': IMAGES.astype(int) * 2, 'y': LABELS}, ['0..255']),
        ({'x': IMAGES[:, 0, 0], 'y': LABELS}, ['(12, 3)', '(N, H, W[, C])']),
        ({'x_test': IMAGES, 'y_test': LABELS}, ['no x_train']),
        ({'x_train': IMAGES, 'y_train': LABELS, 'x_val': IMAGES}, ["no array 'y_val'"]),
        ({'x': IMAGES[:0], 'y': LABELS[:0]}, ['no training examples']),
    ],
)
def test_arrays_that_do_not_fit_are_refused(save, arrays, words):
    message = refusal(save(**arrays), test_fraction=0, val_fraction=0)
    for word in words:
        assert word in message, message


def test_an_empty_class_is_said_to_be_empty_whatever_is_asked_of_it(save):
    source = save(x=IMAGES, y=LABELS * 2)
    assert "class '1' has no training example" in refusal(source, val_per_class=1)


def test_no_pickle_is_loaded_and_damage_is_named(save, tmp_path):
    objects = np.array([{'code': 1}] * 12, object)
    assert 'Python objects' in refusal(save(x=objects, y=LABELS))
    source = save(x=IMAGES, y=LABELS)
    whole = (tmp_path / 'd.npz').read_bytes()
    (tmp_path / 'd.npz').write_bytes(whole[:-200])
    assert 'cut short' in refusal(source)
    (tmp_path / 'd.npz').write_bytes(whole[:400] + bytes(50) + whole[450:])
    assert 'is damaged' in refusal(source)
    assert "did you mean 'd.npz'" in refusal(f'npz:{tmp_path}/e.npz')


def test_digits_are_scikit_learns_in_256_steps():
    from sklearn.datasets import load_digits

    data = read_source(DataSettings(source='digits')).train
    theirs = load_digits()
    assert (data.inputs.shape, data.inputs.dtype) == ((1797, 8, 8, 1), np.uint8)
    np.testing.assert_allclose(data.inputs[..., 0] / 255 * 16, theirs.images, atol=0.04)
    np.testing.assert_array_equal(data.labels, theirs.target)
    assert data.class_names == tuple('0123456789')


def test_scattered_digits_are_the_same_digits_in_the_same_splits():
    plain = load_data(DataSettings(source='digits', seed=3))
    moved = load_data(DataSettings(source='digits:scattered', seed=3))
    assert moved.train.inputs.shape[1:] == (24, 24, 1)
    assert moved.train.ids.tolist() == plain.train.ids.tolist()
    assert moved.train.labels.tolist() == plain.train.labels.tolist()
    other = load_data(DataSettings(source='digits:scattered', seed=4))
    where = {i: k for k, i in enumerate(other.train.ids)}
    shared = next(k for k, i in enumerate(moved.train.ids) if i in where)
    same = other.train.inputs[where[moved.train.ids[shared]]]
    np.testing.assert_array_equal(moved.train.inputs[shared], same)


def test_glyphs_carry_their_class_names():
    from ftjax.data.synthetic.glyphs import CLASS_NAMES

    data = read_source(DataSettings(source='glyphs:200')).train
    assert len(data) == 200
    assert data.class_names == CLASS_NAMES
    assert 'classification' in refusal('glyphs:200', task='regression')


def test_channels_are_matched_in_memory(save):
    splits = load_data(DataSettings(source='digits', channels=3))
    assert splits.train.inputs.shape[1:] == (8, 8, 3)
    grey = load_data(DataSettings(source=save(x=IMAGES, y=LABELS), channels=1, test_fraction=0.25))
    assert grey.test.inputs.shape == (3, 6, 5, 1)


def test_corruption_is_gaussian_and_a_function_of_the_example():
    settings = DataSettings(corruption='gaussian_noise:0.1', channels=3)
    clean, noisy = load_data(DataSettings(channels=3)), load_data(settings)
    other = load_data(DataSettings(corruption='gaussian_noise:0.1', channels=3, seed=1))
    middle = (clean.train.inputs > 90) & (clean.train.inputs < 165)  # nothing is clipped there
    noise = noisy.train.inputs[middle] / 255.0 - clean.train.inputs[middle] / 255.0
    assert abs(noise.mean()) < 0.002
    assert abs(noise.std() - 0.1) < 0.002
    where = {i: k for k, i in enumerate(other.test.ids)}
    both = [(k, where[i]) for k, i in enumerate(noisy.train.ids) if i in where]
    assert len(both) > 100
    mine, theirs = map(list, zip(*both, strict=True))
    np.testing.assert_array_equal(noisy.train.inputs[mine], other.test.inputs[theirs])
    assert noisy.fingerprint != clean.fingerprint


def test_corruption_needs_images_in_memory(save):
    texts = np.array([f'text {i}' for i in range(12)])
    message = refusal(save(x=texts, y=LABELS), corruption='gaussian_noise:0.1', test_fraction=0.25)
    assert 'data.corruption' in message


def test_values_are_divided_by_their_scale(save):
    asked = {'task': 'regression', 'label_scale': 100.0}
    data = read_source(DataSettings(source=save(x=IMAGES, y=50 * LABELS), **asked)).train
    assert {*data.labels.tolist()} == {0.0, 0.5, 1.0}
    pairs = np.array([[f'one {i}', f'other {i}'] for i in range(12)])
    source = save(x=pairs, y=LABELS * 2.5)
    splits = load_data(DataSettings(source=source, task='text_similarity', label_scale=5.0))
    assert splits.train.labels.max() == 1


@pytest.mark.parametrize(
    'asked',
    [
        {'split_column': 'part'},
        {'features': ('age',)},
        {'missing': 'drop'},
        {'text_columns': ('one', 'other'), 'task': 'embedding'},
        {'text_pair_column': 'other'},
        {'train_file': 'a.npz'},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_settings_on_columns_are_refused_where_there_are_none(save, asked):
    texts = np.array([f'text {i}' for i in range(12)])
    message = refusal(save(x=texts, y=LABELS), **asked)
    assert f'data.{next(iter(asked))} speaks of a table' in message


def test_a_folder_of_images_has_no_columns_either(tmp_path):
    for i in range(12):
        place = tmp_path / 'ab'[i % 2] / f'{i}.png'
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(IMAGES[i]).save(place)
    assert 'data.split_column speaks of a table' in refusal(
        f'folder:{tmp_path}', split_column='part'
    )


def test_labels_of_texts_hold_what_the_texts_tell(save):
    texts = np.array([f'a {i % 5}' for i in range(12)])
    pairs, more = np.stack([texts, texts[::-1]], axis=1), {'test_fraction': 0.0}
    asked = {'task': 'embedding', 'val_fraction': 0.0, **more}
    found = load_data(DataSettings(source=save(x=pairs, y=np.ones(12, int)), **asked)).train
    assert found.labels.shape == (12, 3)
    same = found.inputs[:, 0][:, None] == found.inputs[:, 1]
    np.testing.assert_array_equal(found.labels[:, 0][:, None] == found.labels[:, 1], same)
    found = load_data(DataSettings(source=save(x=texts, y=LABELS), **asked)).train
    assert (
        found.labels[:, 1].tolist() == LABELS.tolist() and len(np.unique(found.labels[:, 0])) == 5
    )
    assert 'expected two that the score' in refusal(save(x=texts, y=LABELS), task='text_similarity')
