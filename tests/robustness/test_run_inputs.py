"""A run goes on, and is shown again, only with the inputs that its folder was made from."""

import json
import logging
import shutil
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import ftjax.runs.run
from ftjax.ablation.cells import CellRunner
from ftjax.ablation.settings import AblationSettings
from ftjax.config import read_config
from ftjax.data.dataset import Dataset, Splits
from ftjax.errors import UserError
from ftjax.export.model_card import data_in_words, identity_in_words
from ftjax.io.files.atomic import read_json
from ftjax.io.files.saved_step import MANIFEST
from ftjax.io.identity.identity_changes import differences
from ftjax.io.json.tree_json import json_hash
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.own_format import save_own
from ftjax.pretrained.weights_identity import sketch
from ftjax.registry import register
from ftjax.runs.assessment.evaluated_data import how_data_differ
from ftjax.runs.identity import run_identity
from ftjax.runs.prepare import prepare
from ftjax.runs.run import check_finished, train
from ftjax.training.feature_cache import compute as feature_compute


class Layer(nn.Module):
    """One dense layer, of pixels or of what the layer before gives."""

    width: int

    @nn.compact
    def __call__(self, state, mode):
        inputs = state['hidden'] if isinstance(state, dict) else state.reshape(len(state), -1)
        return {'hidden': nn.relu(nn.Dense(self.width, name='dense')(inputs))}


class Head(nn.Module):
    """The classes."""

    classes: int

    @nn.compact
    def __call__(self, state, mode):
        return nn.Dense(self.classes, name='dense')(state['hidden'])


class OwnNetwork(Network):
    """A network of the user's own, quick to compile."""

    width: int = 8
    num_classes: int = 3

    @property
    def stages(self):
        return ('stem', 'block_00', 'head')

    def make_stage(self, name):
        return partial(Head, self.num_classes) if name == 'head' else partial(Layer, self.width)

    def example_input(self, batch_size=1):
        return jnp.zeros((batch_size, 8, 8, 3))


NAME = 'own_network_of_tests'
register('model', NAME)(OwnNetwork)


def write_data(path, seed=0, names=('a', 'b', 'c')):
    draw, labels = np.random.default_rng(seed), np.arange(60) % 3
    images = draw.integers(0, 60, (60, 8, 8, 3)) + 60 * labels[:, None, None, None]
    np.savez(path, x=images.astype('u1'), y=labels, class_names=np.array(names))


def write_weights(folder, seed=0, std=0.5):
    network = build(NAME)
    variables = jax.jit(network.init)(jax.random.key(seed), network.example_input())
    prep = Preprocessing(image_size=(8, 8), std=(std,) * 3)
    save_own(folder, network, variables, prep, ('x', 'y', 'z'))


def ready(tmp_path, seed=0, init='', source=None, rate=1e-2, train=()):
    return prepare(read_config(config_of(tmp_path, seed, init, source, rate, train)))


def config_of(tmp_path, seed=0, init='', source=None, rate=1e-2, train=()):
    return {
        'init': str(init),
        'model': {} if init else {'name': NAME},
        'seed': seed,
        'data': {'source': source or f'npz:{tmp_path}/d.npz', 'batch_size': 12},
        'freeze': 'last:1',
        'optimizer': {'learning_rate': rate},
        'train': {'steps': 2, 'eval_every': 1.0, 'cache': 'off', 'report': False, **dict(train)},
    }


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """`stopped(prepared, folder)`: a run that ends after its last checkpoint, without a result."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    write_data(tmp_path / 'd.npz')

    def run(prepared, folder):
        with monkeypatch.context() as patch:
            patch.setattr(ftjax.runs.run, 'split_statistics', stop)
            with pytest.raises(KeyboardInterrupt):
                train(prepared, folder, progress=False)
        return folder

    return run


def stop(*_):
    raise KeyboardInterrupt


def contents(folder):
    return {str(p): p.read_bytes() for p in folder.rglob('*') if p.is_file() and p.name != '.lock'}


def refusal(prepared, folder, **options):
    """What is said, while the folder stays as it was."""
    before = contents(folder)
    with pytest.raises(UserError) as error:
        train(prepared, folder, progress=False, **options)
    assert contents(folder) == before and '\n' not in str(error.value)
    return str(error.value)


def test_other_data_are_refused_or_recorded(tmp_path, stopped):
    folder = stopped(ready(tmp_path), tmp_path / 'run')
    write_data(tmp_path / 'd.npz', seed=1)
    said = refusal(ready(tmp_path), folder)
    assert 'all three splits differ' in said and '--allow_data_change' in said
    assert 'splits differ' in refusal(ready(tmp_path), folder, allow=('weights', 'code'))
    _, result = train(ready(tmp_path), folder, progress=False, allow=('data',))
    (change,) = result['identity_changes']
    assert change['changed'] == {'data': ['all three splits']} and change['step'] == 2
    assert change['after'] == json.loads(json.dumps(result['identity']))
    assert change['before']['data']['train'] != result['identity']['data']['train']
    assert read_json(folder / 'result.json')['identity_changes'] == [change]
    check_finished(folder, result, ready(tmp_path))
    write_data(tmp_path / 'd.npz', names=('a', 'b', 'd'))
    with pytest.raises(UserError, match='holds a finished run, and all three splits differ'):
        check_finished(folder, result, ready(tmp_path))
    check_finished(folder, result, ready(tmp_path), ('data',))


@pytest.mark.parametrize(
    ('change', 'said'),
    [({'seed': 1}, 'the pretrained weights differ'), ({'std': 0.25}, 'preprocessing differs')],
)
def test_what_the_run_started_from_must_be_the_same(tmp_path, stopped, change, said):
    init = tmp_path / 'init'
    write_weights(init)
    folder = stopped(ready(tmp_path, init=init), tmp_path / 'run')
    write_weights(init, **change)
    told = refusal(ready(tmp_path, init=init), folder)
    assert said in told and '--allow_weights_change' in told
    shutil.rmtree(init)
    write_weights(init)  # the same again, in other files
    train(ready(tmp_path, init=init), folder, progress=False)


def test_code_of_ones_own_must_be_the_same(tmp_path, stopped, monkeypatch):
    folder = stopped(ready(tmp_path), tmp_path / 'run')
    monkeypatch.setattr(Layer, 'changed', lambda self: 1, raising=False)
    said = refusal(ready(tmp_path), folder)
    assert 'the code of network OwnNetwork differs' in said and '--allow_code_change' in said
    allowed = ready(tmp_path)
    _, result = train(allowed, folder, progress=False, allow=('code',))
    assert result['identity_changes'][0]['changed'] == {'code': ['the code of network OwnNetwork']}


def test_checkpoints_of_another_run_are_refused(tmp_path, stopped):
    folder = stopped(ready(tmp_path), tmp_path / 'run')
    other = stopped(ready(tmp_path, seed=1, rate=2e-2), tmp_path / 'other')
    shutil.rmtree(folder / 'checkpoints')
    shutil.copytree(other / 'checkpoints', folder / 'checkpoints')
    assert 'is of another run: seed is 1, here 0' in refusal(ready(tmp_path), folder)
    third = stopped(ready(tmp_path, rate=2e-2), tmp_path / 'third')
    shutil.rmtree(folder / 'checkpoints')
    shutil.copytree(third / 'checkpoints', folder / 'checkpoints')
    with pytest.raises(UserError, match=r'learning_rate changed.*--allow-plan-change'):
        train(ready(tmp_path), folder, progress=False)


def test_a_best_checkpoint_of_another_run_is_refused_too(tmp_path, stopped):
    from ftjax.training.checkpoints.run_identity import RunIdentity

    own = RunIdentity({}, {'seed': 0, 'mesh.data': 1}, plan=('train',), no_result=('mesh',))
    assert own.check({'config': {'seed': 0, 'mesh.data': 8, 'gone': 1}}, 3, tmp_path) == ([], {})
    assert all(own.check(saved, 3, tmp_path) == ([], {}) for saved in (None, {'config': 5}))
    with pytest.raises(UserError, match='step 3 is of another run: seed is 7, here 0'):
        own.check({'config': {'seed': 7}}, 3, tmp_path)


def test_a_folder_of_an_earlier_version_opens(tmp_path, stopped, caplog):
    folder = stopped(ready(tmp_path), tmp_path / 'run')
    for path in folder.glob(f'checkpoints/*/{MANIFEST}'):
        written = json.loads(path.read_bytes())
        del written['sha256'], written['identity']
        path.write_text(json.dumps({**written, 'sha256': json_hash(written)}))
    write_data(tmp_path / 'd.npz', seed=1)
    with caplog.at_level(logging.INFO):
        _, result = train(ready(tmp_path), folder, progress=False)
    assert 'does not say what it was made from' in caplog.text
    assert 'identity_changes' not in result


def test_other_versions_are_noted_and_not_refused(tmp_path, stopped, monkeypatch, caplog):
    folder = stopped(ready(tmp_path), tmp_path / 'run')
    state = {'commit': 'f' * 40, 'dirty': False, 'versions': {'jax': '99'}}
    monkeypatch.setattr('ftjax.runs.identity._code_state', lambda: state)
    _, result = train(ready(tmp_path), folder, progress=False)
    (change,) = result['identity_changes']
    assert 'jax 99 (was' in caplog.text and list(change['changed']) == ['versions']


def write_images(folder):
    for number in range(30):
        place = folder / 'abc'[number % 3] / f'{number}.bmp'
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 60 * (number % 3) + number, np.uint8)).save(place)
    return f'folder:{folder}'


def test_files_that_change_while_features_are_computed_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    stored = {'cache': 'on', 'cache_bytes': 0, 'cache_folder': str(tmp_path / 'features')}
    prepared = ready(tmp_path, source=write_images(tmp_path / 'images'), train=stored)

    def changing(*_):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(prepared.data.train.inputs[3])

    monkeypatch.setattr(feature_compute, 'compute', changing)
    with pytest.raises(UserError, match='train: files changed while features were computed'):
        train(prepared, None, progress=False)
    assert list((tmp_path / 'features').iterdir()) == []


def test_files_that_change_while_a_run_is_going_are_told_of(tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    images = tmp_path / 'images'
    write_images(images)
    prepared = ready(tmp_path, source=f'folder:{images}')
    measured = ftjax.runs.evaluate.split_statistics

    def replaced(*arguments):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(prepared.data.test.inputs[0])
        return measured(*arguments)

    monkeypatch.setattr(ftjax.runs.run, 'split_statistics', replaced)
    _, result = train(prepared, tmp_path / 'run', progress=False)
    assert 'the test split' in result['data_changed'] and 'while the run' in result['data_changed']
    assert read_json(tmp_path / 'run' / 'result.json')['data_changed'] == result['data_changed']
    assert (tmp_path / 'run' / 'model' / 'model.safetensors').exists()
    assert result['identity']['data']['test'] != prepared.data.test.fingerprint


def of_classes(count, names, seed=0):
    def split(n):
        return Dataset(
            name='d',
            kind='image',
            inputs=np.random.default_rng(seed).integers(0, 255, (n, 4, 4, 1)).astype('u1'),
            labels=np.arange(n) % len(names),
            class_names=names,
        )

    return Splits(train=split(count), val=split(4), test=split(4))


def test_an_evaluation_is_held_against_the_data_of_the_run(tmp_path):
    then = of_classes(6, ('a', 'b'))
    fingerprints = {name: getattr(then, name).fingerprint for name in ('train', 'val', 'test')}
    place = tmp_path / 'result.json'
    place.write_text(json.dumps({'identity': {'data': fingerprints}}))
    assert how_data_differ(tmp_path, then, ('a', 'b'), 'test') == ''
    assert how_data_differ(tmp_path, of_classes(8, ('a', 'b')), ('a', 'b'), 'test') == ''
    for split, told in (
        ('train', of_classes(8, ('a', 'b'))),
        ('test', of_classes(6, ('a', 'b'), 1)),
    ):
        said = how_data_differ(tmp_path, told, ('a', 'b'), split)
        assert f'the {split} split differs' in said and 'trained on' in said
    renamed = of_classes(6, ('a', 'c'))
    assert "'b' is now 'c'" in how_data_differ(tmp_path, renamed, ('a', 'b'), 'test')
    # Of an earlier version: all splits together, and of arrays alone.
    place.write_text(json.dumps({'data_fingerprint': then.fingerprint}))
    assert how_data_differ(tmp_path, then, (), 'test') == ''
    assert 'the data differ' in how_data_differ(tmp_path, of_classes(8, ('a', 'b')), (), 'test')
    for damage in ('[' * 10_000, '{"identity": 5}', '[]', ''):
        place.write_text(damage)
        assert how_data_differ(tmp_path, then, ('a', 'b'), 'test') == ''


def test_a_sketch_tells_draws_apart_and_not_roundings():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        return {'a/kernel': rng.normal(size=(30, 40)).astype('f4'), 'a/scale': np.ones(40, 'f4')}

    def same(one, other):
        return not differences({'weights': {'random': one}}, {'weights': {'random': other}})

    leaves = drawn(0)
    nudged = {path: np.nextafter(leaf, np.float32(9)) for path, leaf in leaves.items()}
    assert same(sketch(leaves), sketch(nudged))
    assert not any(same(sketch(leaves), sketch(drawn(seed))) for seed in range(1, 50))
    assert sketch({}) == sketch({'a': np.zeros(3)})


def test_what_a_file_holds_cannot_break_the_comparison(tmp_path, stopped):
    known = run_identity(ready(tmp_path))
    assert differences(known, known) == {}
    junk = (None, 5, 'x', [], {}, [1], {'train': []}, {'parts': 3}, {'random': ['a']}, float('nan'))
    for value in junk:
        assert differences(value, known) == {}
        for key in known:
            differences({**known, key: value}, known)
            differences({**known, key: dict.fromkeys(part(known[key]), value)}, known)


def part(value):
    return value if isinstance(value, dict) else {}


def test_cells_of_networks_tell_their_inputs(tmp_path, stopped):
    write_weights(tmp_path / 'init')
    values = config_of(tmp_path, init=tmp_path / 'init', train={'cache': 'on'})
    arms = {'head': 'head', 'pixels': {'baseline': 'pixels'}, 'deep': 'full'}
    settings = AblationSettings(
        arms=arms, rates=(1e-2,), seeds=(0, 1), also_evaluate={'more': {'seed': 5}}
    )
    runner = CellRunner(values, settings)
    head, pixels = (runner.identity(cell) for cell in (('head', 1e-2, 0), ('pixels', None, 0)))
    assert set(head['data']['further']) == {'more'} and len(head['weights']['loaded']) == 64
    assert head['data']['all'] == pixels['data']['all'] and 'weights' not in pixels
    assert head['versions']['jax'] and 'commit' in head
    other, deep = runner.identity(('head', 1e-2, 1)), runner.identity(('deep', 1e-2, 1))
    assert other['weights']['loaded'] == head['weights']['loaded']
    assert other['weights']['random'] != head['weights']['random']  # a new head for each seed
    assert other['data']['train'] != head['data']['train'] and deep['data'] == other['data']
    keys = [runner.identity_key(cell) for cell in (('head', 9.0, 0), ('deep', 1e-2, 0))]
    assert keys[0] == keys[1] != runner.identity_key(('head', 9.0, 1))
    alone, together = runner('head', 1e-2, 0), runner.together((('head', 1e-2, 0),))[0]
    assert alone['identity'] == together['identity'] == head


def test_a_model_card_tells_what_the_weights_were_made_from():
    change = {'step': 4, 'changed': {'data': ['the train split']}}
    identity = {
        'weights': {'loaded': 'a' * 64},
        'code': {'python': '3', 'parts': {'network Own': 'b'}, 'files': {'own.py': 'c' * 64}},
    }
    result = {'identity': identity, 'identity_changes': [change], 'data_changed': 'files changed'}
    told = '\n'.join([*identity_in_words(result), *data_in_words({}, result)])
    assert identity_in_words({}) == []
    said = 'a' * 64, '`own.py`: sha256 `ccc', 'changed at step 4: the train split', 'files changed'
    assert all(words in told for words in said)
