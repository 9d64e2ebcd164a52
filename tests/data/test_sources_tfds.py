"""TensorFlow Datasets stored as array_record, read without TensorFlow."""

import dataclasses
import io
import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, TrainStream, eval_batches, load_data
from ftjax.data.audit.quick import quick_audit
from ftjax.data.images.geometry import Geometry
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError

tfds = pytest.importorskip('tensorflow_datasets')

# Small builders of our own; the names are unusual because TFDS registers them globally.


class FtjaxTinyShapes(tfds.core.GeneratorBasedBuilder):
    """Flat pictures: brightness 5 * number, odd numbers are 'yes'."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'image': tfds.features.Image(shape=(None, None, 3)),
            'label': tfds.features.ClassLabel(names=['no', 'yes']),
            'weight': tfds.features.Scalar(dtype=np.float32),
            'note': tfds.features.Text(),
            'reply': tfds.features.Text(),
            'tags': tfds.features.Sequence(tfds.features.ClassLabel(names=['a', 'b', 'c'])),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=('image', 'label'),
        )

    def _split_generators(self, download):
        return {'train': self._generate_examples(20), 'test': self._generate_examples(6)}

    def _generate_examples(self, count):
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(np.full((10 + i, 12, 3), 5 * i, np.uint8)).save(file, 'PNG')
            yield (
                i,
                {
                    'image': file.getvalue(),
                    'label': i % 2,
                    'weight': i / 4,
                    'note': f'no. {i} é',
                    'reply': f'yes {i}',
                    'tags': [tag for tag in range(3) if i % (tag + 2) == 0],
                },
            )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp('tfds')
    builder = FtjaxTinyShapes(data_dir=str(place), file_format='array_record')
    builder.download_and_prepare()
    return str(builder.data_path), str(place)


class FtjaxTinyUndeclared(tfds.core.GeneratorBasedBuilder):
    """Texts whose classes no feature names; the test split has not all of them."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'text': tfds.features.Text(),
            'number': tfds.features.Scalar(dtype=np.int64),
            'word': tfds.features.Text(),
            'marks': tfds.features.Sequence(tfds.features.ClassLabel(names=['1', '2', '3'])),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download):
        return {'train': self._generate_examples(3), 'test': self._generate_examples(2)}

    def _generate_examples(self, classes):
        for i in range(10 * classes):
            of = 1 + i % classes
            word = ('neg', 'pos', 'so')[of - 1]
            marks = [of - 1] if classes == 3 else [1, of]
            yield i, {'text': f'{word} {i}', 'number': of, 'word': word, 'marks': marks}


@pytest.fixture(scope='module')
def undeclared(tmp_path_factory):
    place = tmp_path_factory.mktemp('undeclared')
    builder = FtjaxTinyUndeclared(data_dir=str(place), file_format='array_record')
    builder.download_and_prepare()
    return f'tfds:{builder.data_path}'


@pytest.mark.parametrize(
    'column, of', [('number', {'neg': '1', 'pos': '2', 'so': '3'}), ('word', {})]
)
def test_classes_that_no_feature_names_are_one_for_all_splits(undeclared, column, of):
    asked = DataSettings(source=undeclared, text_column='text', label_column=column)
    splits = load_data(asked)
    assert len(splits.class_names) == 3
    for part in (splits.train, splits.val, splits.test):
        words = [text.split()[0] for text in part.inputs]
        assert [splits.class_names[label] for label in part.labels] == [of.get(w, w) for w in words]
    if column == 'word':  # in an order of one's own
        named = read_source(dataclasses.replace(asked, class_names=('so', 'pos', 'neg')))
        assert {*named.test.labels.tolist()} == {1, 2}


def test_an_index_is_no_spelling_of_a_name(undeclared):
    asked = {'text_column': 'text', 'label_column': 'marks', 'task': 'multilabel'}
    test = read_source(DataSettings(source=undeclared, **asked)).test
    assert test.class_names == ('1', '2', '3')
    for text, row in zip(test.inputs, test.labels, strict=True):
        assert row.tolist() == ([0, 1, 0] if text.startswith('neg') else [0, 1, 1])


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source, **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


def test_images_labels_names_and_splits(folder):
    splits = load_data(DataSettings(source=f'tfds:{folder[0]}'))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (17, 3, 6)
    assert splits.class_names == ('no', 'yes')
    both = (*eval_batches(splits.test, 4, (8, 8)), *eval_batches(splits.train, 4, (8, 8)))
    for batch in both:
        shade = batch['inputs'][:, 4, 4, 0] / 5
        np.testing.assert_array_equal(shade % 2, batch['labels'])
    shades = [b['inputs'][b['mask'] > 0, 0, 0, 0] for b in eval_batches(splits.test, 4, (8, 8))]
    assert sorted(np.concatenate(shades).tolist()) == [0, 5, 10, 15, 20, 25]
    assert 'tensorflow' not in sys.modules


def test_the_stream_is_the_same_read_ahead_or_not(folder):
    train = load_data(DataSettings(source=f'tfds:{folder[0]}')).train
    stream, again = (TrainStream(train, 4, 1, (8, 8)) for _ in range(2))
    for step, batch in enumerate(itertools.islice(stream.iterate(2), 10), 2):
        for key, value in again.batch(step).items():
            np.testing.assert_array_equal(batch[key], value)


def test_by_name_with_a_split_to_cut(folder):
    source = 'tfds:ftjax_tiny_shapes:train[:50%]'
    splits = load_data(DataSettings(source=source, data_dir=folder[1]))
    assert len(splits.train) + len(splits.val) + len(splits.test) == 10
    whole = load_data(DataSettings(source='tfds:ftjax_tiny_shapes', data_dir=folder[1]))
    by_folder = load_data(DataSettings(source=f'tfds:{folder[0]}'))
    assert whole.fingerprint == by_folder.fingerprint != splits.fingerprint


def test_texts_and_values(folder):
    settings = DataSettings(source=f'tfds:{folder[0]}', text_column='note')
    data = read_source(settings).train
    assert data.kind == 'text'
    assert sorted(data.inputs)[0] == 'no. 0 é'
    data = read_source(
        DataSettings(source=f'tfds:{folder[0]}', label_column='weight', task='regression')
    ).train
    assert sorted(data.labels.tolist()) == [i / 4 for i in range(20)]
    asked = {'label_column': 'weight', 'task': 'regression', 'label_scale': 2.0}
    data = read_source(DataSettings(source=f'tfds:{folder[0]}', **asked)).train
    assert sorted(data.labels.tolist()) == [i / 8 for i in range(20)]


def test_pairs_and_several_labels(folder):
    source = f'tfds:{folder[0]}'
    settings = DataSettings(
        source=source,
        text_column='note',
        text_pair_column='reply',
        label_column='tags',
        task='multilabel',
    )
    data = read_source(settings).train
    assert data.class_names == ('a', 'b', 'c') and data.labels.shape == (20, 3)
    for (note, reply), row in zip(data.inputs, data.labels, strict=True):
        number = int(reply.removeprefix('yes '))
        assert note == f'no. {number} é'
        assert row.tolist() == [float(number % (tag + 2) == 0) for tag in range(3)]
    given = {'text_column': 'note', 'label_column': 'label'}
    assert "did you mean 'reply'" in refusal(source, text_pair_column='repli', **given)
    assert 'no text feature' in refusal(source, text_pair_column='image', **given)


def test_names_splits_and_features_that_do_not_exist(folder, tmp_path):
    assert "did you mean 'train'" in refusal(f'tfds:{folder[0]}:trian')
    assert "'lable'" in refusal(f'tfds:{folder[0]}', label_column='lable')
    assert 'data.split_column speaks' in refusal(f'tfds:{folder[0]}', split_column='note')
    assert 'image, note' in refusal(f'tfds:{folder[0]}', text_column='weight')
    assert "'mnist'" in refusal('tfds:mnistt')
    message = refusal('tfds:cifar10_corrupted/brightnes_1', data_dir=str(tmp_path))
    assert "no config 'brightnes_1'" in message and "'brightness_1'" in message
    assert 'extra [tf]' in refusal('tfds:qqqqqqqqqq')
    assert 'no folder' in refusal(f'tfds:{tmp_path}/nothing')
    assert 'regression' in refusal(f'tfds:{folder[0]}', label_column='weight')


def test_data_that_is_not_prepared_says_how(tmp_path):
    message = refusal('tfds:mnist', data_dir=str(tmp_path))
    assert 'not prepared' in message and '[tf]' in message and 'array_record' in message


def test_records_are_compared_by_their_bytes_and_grouped_by_a_feature(folder):
    splits = load_data(DataSettings(source=f'tfds:{folder[0]}'))
    shades = {
        name: {int(part.inputs.image(i, Geometry(height=2, width=2, channels=1), '')[0, 0, 0])
               for i in range(len(part))}
        for name, part in (('train', splits.train), ('test', splits.test))
    }  # fmt: skip
    leaks = quick_audit(splits).leaks()
    assert leaks['test']['exact'] == len(shades['train'] & shades['test']) > 0
    assert leaks['val']['exact'] == 0
    source = f'tfds:{folder[0]}:train'
    by_weight = load_data(DataSettings(source=source, group_column='weight'))
    assert len(set(by_weight.train.groups)) == len(by_weight.train) and len(by_weight.test)
    assert not set(by_weight.train.groups) & set(by_weight.test.groups)
    assert 'lie in train and in test' in refusal(f'tfds:{folder[0]}', group_column='weight')
    assert "did you mean 'weight'" in refusal(source, group_column='weigth')
