"""The Python interface: data in every form, answers, and what is saved and loaded."""

import dataclasses
import importlib.metadata

import numpy as np
import pytest
from PIL import Image

import ftjax
from ftjax.config import read_config
from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode
from ftjax.data.in_python import splits_in_python, test_in_python
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.data.unlabelled.python_items import python_items
from ftjax.errors import UserError
from ftjax.runs.assessment.examination import examine

in_python = test_in_python
del test_in_python
DRAW = np.random.default_rng(0)
X = DRAW.integers(0, 255, (40, 8, 8, 1)).astype(np.uint8)
Y = np.arange(40) % 2
SETTINGS = DataSettings(class_names=('no', 'yes'))


@pytest.fixture(scope='module')
def run():
    values = {'train': {'steps': 4, 'eval_every': 0.5}, 'data': {'batch_size': 8}}
    return ftjax.finetune('glyphs', (X, Y), freeze='head', **values).fit(progress=False)


class Indexed:
    """As a PyTorch data set: a length, and items."""

    classes = ('no', 'yes')

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Tensor:
    """As much of a PyTorch tensor as is asked for: images are (C, H, W)."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.array


def test_the_same_data_in_every_form_are_the_same(tmp_path):
    np.savez(tmp_path / 'd.npz', x=X, y=Y, class_names=['no', 'yes'])
    source = load_data(DataSettings(source=f'npz:{tmp_path / "d.npz"}'))
    pairs = [(image, int(label)) for image, label in zip(X, Y, strict=True)]
    rows = [{'image': image, 'label': label} for image, label in pairs]
    floats = [(Tensor(np.moveaxis(i.astype(np.float32) / 255, -1, 0)), label) for i, label in pairs]
    for data in (
        (X, Y),
        {'x': X, 'y': Y},
        {'train': (X, Y)},
        pairs,
        Indexed(pairs),
        Indexed(rows),
    ):
        found = splits_in_python(data, SETTINGS)
        assert found.fingerprint == source.fingerprint, type(data)
        assert found.class_names == ('no', 'yes')
    found = splits_in_python(Indexed(floats), DataSettings())
    assert found.class_names == ('no', 'yes')
    assert found.train.inputs == pytest.approx(source.train.inputs / 255, abs=1e-6)
    given = splits_in_python({'train': (X[:30], Y[:30]), 'dev': (X[30:], Y[30:])}, SETTINGS)
    assert len(given.val) == 10 and len(given.train) == 24 and len(given.test) == 6
    assert len(in_python((X, Y), SETTINGS)) == 40


def test_texts_pairs_paths_and_frames(tmp_path):
    texts = [f'text number {i}' for i in range(40)]
    names = ['no' if i % 2 else 'yes' for i in range(40)]
    found = splits_in_python((texts, names), DataSettings())
    assert found.train.kind == 'text' and found.class_names == ('no', 'yes')
    both = splits_in_python((list(zip(texts, names, strict=True)), Y), DataSettings())
    assert both.train.inputs.shape[1] == 2
    from PIL import Image

    paths = []
    for index in range(12):
        paths.append(tmp_path / f'{index}.png')
        Image.fromarray(X[index, ..., 0]).save(paths[-1])
    files = splits_in_python(([str(path) for path in paths], Y[:12]), SETTINGS)
    assert files.train.kind == 'image_file'
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'text': texts, 'label': names, 'more': range(40)})
    framed = splits_in_python(frame, DataSettings())
    assert [*framed.test.inputs] == [*found.test.inputs]
    assert framed.test.labels.tolist() == found.test.labels.tolist()


def test_groups_exclusions_and_image_files_of_a_program_are_those_of_a_source(tmp_path):
    from PIL import Image

    with pytest.raises(UserError, match=r"has no columns, so no data\.group_column 'patient'"):
        ftjax.finetune('glyphs', (X, Y), data={'group_column': 'patient'})
    with pytest.raises(UserError, match=r'have no match of data\.group_pattern'):
        splits_in_python((X, Y), DataSettings(group_pattern='(?P<group>nothing)'))
    with pytest.raises(UserError, match='no_such'):
        splits_in_python((X, Y), DataSettings(exclude=str(tmp_path / 'no_such.csv')))
    paths = [str(tmp_path / f'p{i // 4}_{i}.png') for i in range(40)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((8, 8), 1000 * i, np.uint16)).save(path)
    pattern = DataSettings(group_pattern=r'(?P<group>p\d+)_')
    found = splits_in_python((paths, np.arange(40) // 4 % 2), pattern)
    assert not {*found.train.groups} & {*found.val.groups, *found.test.groups}
    assert found.train.whites == found.test.whites is not None  # 16 bits: one scale for all
    (tmp_path / 'p9_39.png').write_bytes(b'none')
    with pytest.raises(UserError, match=r'p9_39\.png'):
        splits_in_python((paths, Y), DataSettings())


def test_splits_of_frames_share_no_group_and_no_id(tmp_path):
    pandas = pytest.importorskip('pandas')
    texts = [f'text number {i}' for i in range(40)]
    rows = {'text': texts, 'label': Y, 'patient': [f'p{i // 2}' for i in range(40)]}
    frame = pandas.DataFrame(rows)
    grouped = DataSettings(group_column='patient', val_fraction=0)
    with pytest.raises(UserError, match='lie in train and in test'):
        splits_in_python({'train': frame, 'test': frame[:10]}, grouped)
    both = {'train': frame[:20], 'test': frame[20:]}
    apart = splits_in_python(both, grouped)
    assert apart.test.ids[0] == 'test:0' and not {*apart.train.ids} & {*apart.test.ids}
    assert apart.group_columns['patient']['train:2'] == 'p1'
    assert apart.group_columns['patient']['test:2'] == 'p11'
    alone = splits_in_python(frame, DataSettings())
    assert all(name.startswith('given in Python:') for name in alone.train.ids)


def test_a_missing_group_of_a_frame_is_no_group():
    pandas = pytest.importorskip('pandas')
    of = [None, *(i // 2 for i in range(39))]  # floats, since one is missing
    frame = pandas.DataFrame({'text': [f't{i}' for i in range(40)], 'label': Y, 'patient': of})
    grouped = DataSettings(group_column='patient', val_fraction=0)
    with pytest.raises(UserError, match="1 of 40 examples have an empty 'patient'"):
        splits_in_python(frame, grouped)
    whole = frame[1:20].astype({'patient': int})
    with pytest.raises(UserError, match=r'lie in train and in test \(0, 1, 2, \.\.\)'):
        splits_in_python({'train': frame[1:], 'test': whole}, grouped)
    alone = splits_in_python(frame, DataSettings())
    of = alone.group_columns['patient']
    assert of['given in Python:0'] == '' and of['given in Python:3'] == '1'


def test_data_to_evaluate_on_need_no_groups_and_are_not_excluded(tmp_path):
    """Settings of a run on grouped tables: of arrays nobody knows groups, and nothing is cut."""
    for settings in ({'group_column': 'patient'}, {'group_pattern': '(?P<group>p.)'}):
        asked = DataSettings(exclude=str(tmp_path / 'no_such.csv'), **settings)
        found = in_python((X, Y), asked)
        assert len(found) == 40 and not len(found.groups)
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'text': ['a', 'b'], 'label': [0, 1], 'patient': ['p', 'q']})
    asked = DataSettings(group_column='patient', slices=('site',))
    assert in_python(frame, asked).groups.tolist() == ['p', 'q']


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (3, 'expected a source'),
        ({'trian': (X, Y)}, 'train'),
        ((X, Y[:3]), '40 inputs and 3 labels'),
        ([X[0], X[1]], r'expected \(x, y\)'),
        ({'image': X}, 'expected one of'),
        (([X[0], X[1][:4]], [0, 1]), '2 sizes'),
        ({'train': (X, Y), 'test': (['a'], [0])}, 'texts in one split'),
        ({'train': (X, Y), 'training': (X, Y)}, 'two parts'),
        ((X.astype(np.float64) * 9, Y), 'floats in 0..1'),
        ([], 'no examples'),
        ({'train': (['a', 'b'], [0, 1]), 'val': ([], [])}, 'no examples in val'),
    ],
)
def test_data_that_cannot_be_meant_are_refused(data, words):
    with pytest.raises(UserError, match=words):
        ftjax.finetune('glyphs', data)


def test_frames_without_rows_are_refused():
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'text': ['a', 'b'], 'label': [0, 1]})
    for data, words in (
        (frame[:0], 'no examples'),
        ({'train': frame, 'val': frame[:0]}, '/val: no'),
    ):
        with pytest.raises(UserError, match=words):
            splits_in_python(data, SETTINGS)


def test_mistakes_in_data_of_a_program_are_counted_from_1():
    """As lines of a file are: the third of a list is row 3, whoever finds the mistake."""
    third = r'row 3 \(counted from 1\)'
    texts = ['a', 'b', 'c', 'd']
    with pytest.raises(UserError, match=f"given in Python, {third}: label 'much' is no finite"):
        splits_in_python((texts, [1.0, 2.0, 'much', 3.0]), DataSettings(task='regression'))
    with pytest.raises(UserError, match=f'own: label 7 of {third} is out of range'):
        Dataset(name='own', kind='text', inputs=texts, labels=[0, 1, 7, 1], class_names=('n', 'y'))
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'text': texts, 'label': [1.0, 2.0, 'much', 3.0]})
    with pytest.raises(UserError, match=f'given in Python, {third}'):
        splits_in_python(frame, DataSettings(task='regression'))


def test_a_run_answers_plots_and_is_loaded_again(run, tmp_path, caplog):
    assert run.history and run.history[-1]['step'] == 4
    assert [axes.get_xlabel() for axes in run.plot().axes] == ['epoch'] * 4
    with pytest.raises(UserError, match="unknown split 'dev'"):
        run.evaluate('dev')
    test = run.prepared.data.test
    answers = run.predict(test.inputs, top_k=1)
    right = np.mean(np.array(answers.predicted) == np.array(test.class_names)[test.labels])
    assert right == run.evaluate('test')['accuracy'] and len(answers) == len(test)
    assert {type(value) for row in answers for value in row.values()} == {str, float}
    features = run.features(test.inputs)
    assert features.shape == (len(test), 64) and features.dtype == np.float32
    assert run.features(test.inputs, stage='embed').shape[0] == len(test)
    wrong = run.mistakes()
    assert len(wrong) == round((1 - right) * len(test))
    sure = [row['confidence'] for row in wrong]
    assert sure == sorted(sure, reverse=True) and wrong[0]['id'] == test.ids[wrong[0]['position']]
    assert all(row['label'] != row['predicted'] for row in wrong)
    fitted = run.calibrate()
    softer = run.predict(test.inputs)
    assert softer.predicted == answers.predicted and softer[0]['p:0'] != answers[0]['p:0']
    assert run.predict(test.inputs, calibrated=False)[0]['p:0'] == answers[0]['p:0']
    folder = run.save(tmp_path / 'saved')
    for loaded in (ftjax.load(folder), ftjax.load(str(folder))):
        again = loaded.predict(test.inputs)
        assert again.outputs.tobytes() == answers.outputs.tobytes()
        assert again.rows == softer.rows and loaded.class_names == test.class_names
        assert loaded.calibration['temperature'] == fitted['temperature']
        assert loaded.features(test.inputs).tobytes() == features.tobytes()
    metrics = ftjax.load(folder).evaluate((test.inputs, test.labels))
    assert metrics['accuracy'] == right and metrics['n'] == len(test)
    halves = dataclasses.replace(test, groups=['a', 'b'] * (len(test) // 2))
    by_group = examine(ftjax.load(folder).trained, halves).metrics
    assert by_group['groups'] == 2 and by_group['accuracy'] == right
    assert by_group['accuracy_interval'] != metrics['accuracy_interval']
    before = run.variables
    with caplog.at_level('WARNING', logger='ftjax'):
        assert run.fit() is run and run.variables is before
    assert 'trained already (4 steps)' in caplog.text
    with pytest.raises(UserError, match='needs a folder'):
        run.report()


def test_what_was_fitted_before_the_training_is_not_of_the_weights_after_it(run, tmp_path):
    values = {'train': {'steps': 1}, 'data': {'batch_size': 8, 'class_names': ('0', '1')}}
    more = ftjax.finetune(str(run.save(tmp_path / 'before')), (X, Y), freeze='head', **values)
    more.calibrate()
    assert more.predict(X)[0] != more.predict(X, calibrated=False)[0]
    more.fit(progress=False)
    assert more.predict(X)[0] == more.predict(X, calibrated=False)[0]


def test_answers_name_what_cannot_be_read(run):
    found = run.predict([X[0], np.full((8, 8), np.nan), X[1]])
    assert len(found) == 2 and [each.id for each in found.failed] == ['000001']
    with pytest.raises(UserError, match='000001'):
        run.features([X[0], np.full((8, 8), np.nan)])
    with pytest.raises(UserError, match='expected a list or an array'):
        run.predict(3)
    with pytest.raises(UserError, match='none of 1 inputs'):
        run.predict(['a text'])
    fresh = ftjax.finetune('glyphs', (X, Y), freeze='head')
    with pytest.raises(UserError, match='no trained head'):
        fresh.predict(X)
    with pytest.raises(UserError, match=r'fit\(\) first'):
        fresh.plot()


def test_sections_have_the_names_of_a_config():
    short = {'train': {'steps': 2}}
    # Few examples: what is looked for in them before a run takes longest here.
    data = {'batch_size': 8, 'examples_per_class': 2, 'val_per_class': 1, 'test_per_class': 1}
    one = ftjax.finetune('glyphs', 'digits', data=data, **short)
    two = ftjax.finetune('glyphs', 'digits', data_settings=data, **short)
    told = {'data': {'source': 'digits', **data}, 'freeze': 'full', **short}
    assert one.config == two.config == read_config(told)


@pytest.mark.slow
def test_the_range_test_rises_and_suggests_a_grid():
    run = ftjax.finetune('glyphs', (X, Y), freeze='head', data={'batch_size': 8})
    found = run.lr_find(1e-5, 1.0, steps=12)
    assert found.rates[0] == pytest.approx(1e-5) and found.rates[-1] == pytest.approx(1.0)
    steps = np.diff(np.log(found.rates))
    assert steps == pytest.approx(np.full(11, np.log(1e5) / 11), rel=1e-3)
    assert len(found.grid) == 3 and all(1e-7 < rate < 1 for rate in found.grid)
    assert 'no answer' in str(found) and found.figure().axes
    assert run.result is None and not run.history
    phases = ftjax.finetune('glyphs', (X, Y), freeze='lp_ft', data={'batch_size': 8})
    assert phases.lr_find(steps=10).starts
    with pytest.raises(UserError, match='0 < low < high'):
        run.lr_find(1.0, 0.1)


def test_the_package_tells_its_version():
    assert ftjax.__version__ == importlib.metadata.version('ftjax')
    with pytest.raises(AttributeError, match="'ftjax' has no attribute '__author__'"):
        ftjax.__author__  # noqa: B018


def test_pictures_of_pillow_are_read_as_their_files(tmp_path, run):
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    colours = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    clear = Image.fromarray(rng.integers(0, 256, (12, 12, 4), np.uint8))
    for number, (image, more) in enumerate(
        [
            (colours.quantize(32), {}),
            (clear, {}),
            (colours.convert('L'), {'exif': turned}),
            (colours.crop((0, 0, 12, 7)), {'exif': turned}),
        ]
    ):
        path = tmp_path / f'{number}.png'
        image.save(path, **more)
        opened = [Image.open(path) for _ in range(10)]
        data = splits_in_python((opened, [0, 1] * 5), SETTINGS).train
        want = decode(str(path), None, data.inputs.shape[-1])
        np.testing.assert_array_equal(data.inputs[0], want)
        (item,) = python_items([Image.open(path)], False)
        np.testing.assert_array_equal(item.value, want)
    pixels = Image.fromarray(X[0, ..., 0])
    np.testing.assert_array_equal(
        splits_in_python(([pixels] * 10, [0, 1] * 5), SETTINGS).train.inputs[0], X[0]
    )


def test_lists_of_labels_may_differ_in_length():
    texts = [f'text {i}' for i in range(60)]
    several = DataSettings(task='multilabel')
    for labels in ([['a'], ['a', 'b'], []] * 20, [['a', 'b'], ['a', 'c']] * 30):
        found = splits_in_python((texts, labels), several).train
        told = [{found.class_names[i] for i in np.flatnonzero(row)} for row in found.labels]
        want = dict(zip(texts, map(set, labels), strict=True))
        assert told == [want[text] for text in found.inputs]
    hot = np.eye(3, dtype=int)[np.arange(60) % 3]
    for rows in (hot, hot.tolist()):
        assert splits_in_python((texts, rows), several).train.labels.shape[1] == 3
    words = [['w'] * (2 + i % 3) for i in range(60)]
    tags = [['O', 'B-X', *['O'] * (i % 3)] for i in range(60)]
    tagged = DataSettings(task='token_classification')
    found = splits_in_python((words, tags), tagged).train
    assert found.class_names == ('O', 'B-X') and found.labels.max() == 1
    with pytest.raises(UserError, match='an input of 3 texts'):
        splits_in_python(([('a', 'b', 'c')] * 10, [0, 1] * 5), DataSettings())
