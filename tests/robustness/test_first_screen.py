"""What is said before training, and data that hold less, or more, than a run expects."""

import dataclasses
import json
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ftjax.ablation.cells.extra_test_sets import further_settings, further_split, scored_whole
from ftjax.ablation.settings import read_ablation
from ftjax.api import Finetuning
from ftjax.cli.overrides import data_values, make, nothing_by_key, optional_keys, taken
from ftjax.config import merged, plain, read_config, template
from ftjax.data import Dataset, DataSettings, Splits, load_data
from ftjax.data.audit.overview import findings, overview, sizes
from ftjax.data.audit.quick import quick_audit
from ftjax.errors import UserError
from ftjax.models.stages import Network
from ftjax.registry import PARTS, parts, register
from ftjax.tasks.metrics_text import metrics_text


def splits_of(tmp_path, settings=None, **arrays):
    np.savez(tmp_path / 'd.npz', **arrays)
    return load_data(DataSettings(source=f'npz:{tmp_path}/d.npz', **(settings or {})))


def noise(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (count, size, size), dtype=np.uint8)


def test_sizes_and_classes_stand_on_one_line(tmp_path):
    y = np.array(['bee'] * 30 + ['ant'] * 20)
    splits = splits_of(tmp_path, x=noise(50), y=y)
    assert overview(splits) == (
        'train 32 · val 8 · test 10 images, 2 classes (in training: ant 13, bee 19)\n'
        'also in training: val 0 exact, near not looked for · test 0 exact, near not looked for '
        '(images are smaller than 16 pixels)'
    )
    many = splits_of(tmp_path, x=noise(200), y=np.arange(200) % 20)
    assert sizes(many).endswith('20 classes (in training: 1 6 .. 0 7)')
    values = splits_of(tmp_path, {'task': 'regression'}, x=noise(50), y=np.linspace(0, 5, 50))
    assert sizes(values).startswith('train 32 · val 8 · test 10 images, values 0')


def test_few_shot_settings_say_what_they_leave_out(tmp_path):
    few = splits_of(tmp_path, {'examples_per_class': 5}, x=noise(60), y=np.arange(60) % 2)
    assert few.notes == (
        'few-shot: 10 of 39 training examples are used (data.examples_per_class=5); '
        '--config.data.examples_per_class=None uses all',
    )
    x, y = noise(60), np.arange(60) % 2
    few = splits_of(
        tmp_path, {'val_per_class': 5}, x_train=x, y_train=y, x_val=x + 1, y_val=y
    )  # the source's own validation split is cut
    assert 'few-shot: 10 of 60 validation examples' in few.notes[0]


@pytest.mark.parametrize('kind', ['arrays', 'floats', 'texts', 'pairs', 'files'])
def test_held_out_examples_that_are_training_examples_are_counted(kind, tmp_path):
    x = noise(60)
    y = np.arange(60) % 3
    x[:20] = x[20:40]
    if kind == 'files':
        for part, where in (('test', range(20)), ('train', range(20, 60))):
            for i in where:
                folder = tmp_path / part / 'abc'[y[i]]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(x[i]).save(folder / f'{i}.bmp')  # all of one size
        splits = load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0))
    else:
        inputs = {
            'arrays': x,
            'floats': (x / 255).astype(np.float32),
            'texts': np.array([f'text {row[0, 0]} {row[0, 1]} {row[0, 2]}' for row in x]),
            'pairs': np.array([[str(row[0, :4]), str(row[1, :4])] for row in x]),
        }[kind]
        splits = splits_of(
            tmp_path, {'val_fraction': 0}, x_train=inputs[20:], y_train=y[20:],
            x_test=inputs[:20], y_test=y[:20],
        )  # fmt: skip
    assert quick_audit(splits).leaks()['test']['exact'] == 20
    of = np.array([int(i.split('/')[-1].split('.')[0]) for i in splits.train.ids])
    of = of if kind == 'files' else of + 20  # the row of x
    assert any(
        note.startswith('20 of 20 test examples stand in training too') for note in findings(splits)
    )
    rest = Splits(
        train=splits.train.take(np.flatnonzero(of >= 40)), val=splits.val, test=splits.test
    )
    assert not any('stand in training too' in note for note in findings(rest))


def test_files_of_one_size_that_differ_are_no_copies(tmp_path):
    for part, seed in (('train', 0), ('test', 1)):
        for name in 'ab':
            (tmp_path / part / name).mkdir(parents=True)
            for i, image in enumerate(noise(6, seed=seed * 2 + (name == 'a'))):
                Image.fromarray(image).save(tmp_path / part / name / f'{i}.bmp')
    splits = load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0.25))
    assert findings(splits) == ()


PEOPLE = [
    ('p{0:02d}_{1}', True),
    ('patient {0}-{1}', True),
    ('{0:04d}_c1s1_{1:06d}_00', True),
    ('IMG_{2:04d}', False),
    ('{2:07d}', False),
    ('cat.{2}', False),
    ('{2}_{3}', False),
    ('n02119789_{2}', False),
]


@pytest.mark.parametrize('form, groups', PEOPLE)
@pytest.mark.parametrize('kind', ['ids', 'files'])
def test_names_that_suggest_groups_are_said(form, groups, kind, tmp_path):
    rng = np.random.default_rng(0)
    names = [
        form.format(p, i, p * 8 + i, rng.integers(1 << 40)) for p in range(20) for i in range(8)
    ]
    y = np.arange(160) // 8 % 2
    if kind == 'ids':
        splits = splits_of(tmp_path, x=noise(160), y=y, ids=np.array(names))
    else:
        for name, label, image in zip(names, y, noise(160), strict=True):
            (tmp_path / f'c{label}').mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / f'c{label}' / f'{name}.png')
        splits = load_data(DataSettings(source=f'folder:{tmp_path}'))
    told = [note for note in findings(splits) if 'groups' in note]
    assert bool(told) == groups, told
    if groups:
        assert '20 groups' in told[0] and 'of the ' in told[0]


def test_folders_below_a_class_suggest_groups_and_whole_groups_do_not(tmp_path):
    for part, people in (('train', range(12)), ('test', range(12, 24))):
        for p in people:
            folder = tmp_path / part / 'ab'[p % 2] / f'person{p}'
            folder.mkdir(parents=True)
            for i, image in enumerate(noise(4, seed=p)):
                Image.fromarray(image).save(folder / f'{i}.png')
    splits = load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0))
    assert not [note for note in findings(splits) if 'groups' in note]
    for part in ('a', 'b'):
        (tmp_path / 'all').mkdir(exist_ok=True)
        (tmp_path / 'train' / part).rename(tmp_path / 'all' / part)
    splits = load_data(DataSettings(source=f'folder:{tmp_path}/all'))
    assert any('12 groups' in note for note in findings(splits))


def test_a_rare_label_stays_in_training_in_every_fold(tmp_path):
    hot = np.zeros((60, 4), int)
    hot[np.arange(60), np.arange(60) % 3] = 1
    hot[:2, 3] = 1
    seen = []
    for i in range(5):
        settings = {'task': 'multilabel', 'folds': 5, 'fold': i}
        splits = splits_of(tmp_path, settings, x=noise(60), y=hot)
        assert splits.train.labels[:, 3].any() and len(splits.test) == 12
        seen += splits.test.ids.tolist()
    assert len(set(seen)) == 60
    # One example alone cannot be in training in every fold: said by name.
    hot[1, 3] = 0
    words = "class '3' has no training example"
    fold = 0
    with pytest.raises(UserError, match=words):
        for fold in range(5):
            settings = {'task': 'multilabel', 'folds': 5, 'fold': fold}
            splits_of(tmp_path, settings, x=noise(60), y=hot)


def test_folds_that_lose_no_label_are_those_of_before(tmp_path):
    # Drawn without strata, as every release has drawn them.
    hot = (np.random.default_rng(3).random((50, 3)) < 0.5).astype(int)
    settings = {'task': 'multilabel', 'folds': 5, 'fold': 2, 'val_fraction': 0}
    splits = splits_of(tmp_path, settings, x=noise(50), y=hot)
    order = np.random.default_rng((0, 3, 0)).permutation(50)
    assert splits.test.ids.tolist() == [f'{i:06d}' for i in np.sort(order[2::5])]


@pytest.mark.parametrize('seed', range(8))
def test_a_rare_label_stays_in_training_beside_a_held_out_part(seed, tmp_path):
    hot = np.zeros((40, 3), int)
    hot[np.arange(40), np.arange(40) % 2] = 1
    hot[[4, 7], 2] = 1
    settings = {'task': 'multilabel', 'seed': seed, 'test_fraction': 0.4, 'val_fraction': 0.3}
    splits = splits_of(tmp_path, settings, x=noise(40), y=hot)
    assert splits.train.labels[:, 2].any()
    assert (len(splits.test), len(splits.val)) == (16, 12)


class Layer(nn.Module):
    """Pixels to outputs."""

    outputs: int

    @nn.compact
    def __call__(self, state, mode):
        return nn.Dense(self.outputs, name='dense')(state.reshape(len(state), -1))


class TwoLayers(Network):
    """As small as a network can be: what is tested is the folder of its run."""

    num_classes: int = 10

    @property
    def stages(self):
        return ('block_00', 'head')

    def make_stage(self, name):
        return partial(Layer, self.num_classes if name == 'head' else 4)

    def example_input(self, batch_size=1):
        return jnp.zeros((batch_size, 8, 8, 1))


def test_a_run_without_a_test_split_is_whole_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(PARTS, 'model', dict(parts('model')))
    register('model', 'two_layers')(TwoLayers)
    config = read_config(
        {
            'init': '',
            'model': {'name': 'two_layers'},
            'freeze': 'full',
            'data': {'source': 'digits', 'test_fraction': 0.0, 'examples_per_class': 2},
            'train': {'steps': 2},
        }
    )
    run = Finetuning(config).run(tmp_path / 'run', progress=False)
    assert run.result['metrics'] == {'n': 0, 'task': 'classification'}
    assert 'no test split' in metrics_text(run.result['metrics'])
    assert 'note: there is no test split' in run.data()
    stored = json.loads((tmp_path / 'run' / 'result.json').read_text())
    assert stored['metrics']['n'] == 0 and 'there is no test split' in stored['data']['notes']
    assert stored['data']['sizes'].startswith('train 20 · val 270 · test 0 images, 10 classes')
    assert stored['audit']['leaks'] == {'val': {'n': 270, 'exact': 0, 'near': None}}
    assert run.data().split('\n')[1] == 'the network sees 8 x 8 pixels in grey'
    assert (tmp_path / 'run' / 'model').is_dir()
    with pytest.raises(UserError, match='no test split to evaluate on'):
        run.evaluate()
    assert run.evaluate('val')['n'] == 270


def further(base, given):
    settings, head = further_settings(base, 'more', given)
    return further_split(settings, scored_whole(base, head, given))


def test_a_further_test_set_of_its_own_is_scored_whole(tmp_path):
    def fill(folder, count):
        for name in ('a', 'b'):
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(noise(1, seed=i)[0]).save(tmp_path / folder / name / f'{i}.png')

    fill('task', 20)
    fill('other', 21)
    fill('held/test', 3)
    fill('both/train', 10)
    fill('both/val', 4)
    fill('three/train', 10)
    fill('three/test', 5)
    base = DataSettings(source=f'folder:{tmp_path}/task', examples_per_class=3)
    found = {
        name: len(further(base, f'folder:{tmp_path}/{name}'))
        for name in ('other', 'held', 'both', 'three')
    }
    assert found == {'other': 42, 'held': 6, 'both': 8, 'three': 10}
    # The task's own data, shifted or not, stay on its test split: the rest was trained on.
    assert len(further(base, {'channels': 1})) == len(load_data(base).test) == 8
    assert len(further(base, f'folder:{tmp_path}/task')) == 8
    assert len(further(base, f'folder:{tmp_path}/other/../task/')) == 8
    # What is said of the task's examples by their names is not said of others.
    named = dataclasses.replace(base, exclude='clean.csv', slices=('site',))
    kept, _ = further_settings(named, 'other', f'folder:{tmp_path}/other')
    assert (kept.exclude, kept.slices) == ('', ())
    kept, _ = further_settings(named, 'grey', {'channels': 1})
    assert (kept.exclude, kept.slices) == ('clean.csv', ('site',))
    # And so it may be asked for, as for a copy of the task's images with noise.
    assert len(further(base, {'source': f'folder:{tmp_path}/other', 'test_fraction': 0.5})) == 21


def test_further_sets_that_ftjax_makes_are_scored_on_their_test_split():
    base = DataSettings(source='digits:scattered')
    assert len(further(base, 'digits')) == 359
    assert not scored_whole(base, 'source', {'source': 'folder:x', 'head': 'source'})


@pytest.mark.parametrize(
    'name, made, want',
    [
        ('pets', 'folder', 'folder:'),
        ('d.csv', 'file', 'csv:'),
        ('d.tsv', 'file', 'csv:'),
        ('d.jsonl', 'file', 'jsonl:'),
        ('d.npz', 'file', 'npz:'),
        ('gone/d.npz', '', 'npz:'),
        ('gone', '', 'folder:'),
    ],
)
def test_a_plain_path_as_source_names_its_reader(name, made, want, tmp_path):
    path = tmp_path / name
    if made == 'folder':
        path.mkdir()
    elif made:
        path.write_text('')
    with pytest.raises(UserError, match=f'did you mean {want}{path}'):
        load_data(DataSettings(source=str(path)))


def test_a_misspelt_source_is_still_named():
    with pytest.raises(UserError, match=r"unknown data\.source 'digit'; did you mean 'digits'"):
        load_data(DataSettings(source='digit'))


@pytest.mark.parametrize('source', ['folder:$FTJAX_DATA/pets', 'csv:$FTJAX_DATA/text/x.csv'])
def test_an_unset_data_folder_is_said(source, tmp_path, monkeypatch):
    monkeypatch.delenv('FTJAX_DATA', raising=False)
    monkeypatch.setattr('ftjax.data.user_paths._DEFAULT_DATA', tmp_path / 'nowhere')
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source))
    assert 'FTJAX_DATA is not set' in str(error.value)
    assert source.split('$FTJAX_DATA/')[1] in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_classes_that_no_held_out_example_tests_are_named():
    labels = np.array([0, 0, 1, 1, 2, 2], np.int32)
    data = Dataset(
        name='d', kind='text', inputs=list('abcdef'), labels=labels, class_names=('x', 'y', 'z')
    )
    splits = Splits(train=data, val=data.take([]), test=data.take([]))
    assert findings(splits) == ('there is no validation split', 'there is no test split')
    splits = Splits(train=data.take([0, 2, 4]), val=data.take([1]), test=data.take([3, 5]))
    assert findings(splits) == (
        "the validation split has no example of 'y', 'z'",
        "the test split has no example of 'x'",
        "training has a single example of 'x', 'y', 'z'",
    )


def test_every_optional_key_takes_none_on_the_command_line():
    for key in optional_keys():
        assert taken([f'--config.{key}=none'])[1] == [(key, None)]
        assert taken([f'--config.{key}=None'])[1] == [(key, None)]
    assert {'data.examples_per_class', 'data.image_size', 'train.patience'} <= optional_keys()


def test_every_key_that_may_say_nothing_is_unset_by_none():
    """Texts, sequences and mappings too, whatever the config file says there."""
    filled = {'data.palette': ('#000000',), 'train.loggers': ('csv',), 'data.sampler': 'sqrt'}
    filled |= {'model': {'name': 'vit'}, 'data.image_size': (8, 8), 'freeze.norm': 'frozen'}
    config = template(**merged({}, filled))
    for key, nothing in nothing_by_key().items():
        section = key.partition('.')[0]
        if section in config and section != 'ablation':
            rest, changes = taken([f'--config.{key}=None'])
            changes += [(word[len('--config.') :].split('=')[0], nothing) for word in rest]
            make(config, changes)
    found = read_config(config)
    assert found.data.palette == () and found.model == {} and found.data.image_size is None
    assert found.data == DataSettings(ignore_index=None, max_length=None)
    assert not found.train.loggers
    assert found.freeze.norm == 'frozen'  # it has no value that says nothing
    assert data_values(['palette=None', 'class_names=']) == {'palette': [()], 'class_names': [()]}


def test_every_key_of_an_ablation_is_set_on_the_command_line():
    """Whether the config file names it or not, of the type of its field."""
    config = template()
    config.ablation = ConfigDict({'arms': {'full': 'full'}, 'rates': (1e-3,)}, convert_dict=False)
    words = {
        'metric': ('f1_macro', 'f1_macro'),
        'seeds': ('0,1', (0, 1)),
        'rates': ('0.1', (0.1,)),
        'budget': ('30 min', '30 min'),
        'margin': ('None', None),
        'max_extra': ('0', 0),
        'tasks': (
            "{'few': {'data.examples_per_class': 5}}",
            {'few': {'data.examples_per_class': 5}},
        ),
        'arms': (
            "{'top': 'last:1', 'head': {'freeze': 'head'}}",
            {'top': 'last:1', 'head': {'freeze': 'head'}},
        ),
    }
    given = [f'--config.ablation.{key}={text}' for key, (text, _) in words.items()]
    rest, changes = taken([*given, '--config.seed=3', '--config.ablation.arms.full=head'])
    assert rest == ['--config.seed=3', '--config.ablation.arms.full=head']
    make(config, changes)
    settings = read_ablation({**plain(config)['ablation'], 'tasks': {}, 'budget': ''})
    for key, (_, value) in words.items():
        assert plain(config)['ablation'][key] == value, key
    assert settings.seeds == (0, 1) and list(settings.arms) == ['top', 'head']


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('seed=1', "unknown key of config.ablation: 'seed'; did you mean 'seeds'?"),
        ('seeds=a', '--config.ablation.seeds is .a.; expected a sequence of whole numbers'),
        ('arms=head', "--config.ablation.arms is 'head'; expected a mapping"),
        ('max_extra=few', "max_extra is 'few'; expected a whole number"),
    ],
)
def test_a_wrong_key_of_an_ablation_is_told_as_such(word, message):
    with pytest.raises(UserError, match=message):
        taken([f'--config.ablation.{word}'])
