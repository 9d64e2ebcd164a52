"""The feature cache: the same losses from the cut on, computed once, refused where impossible."""

import dataclasses
import hashlib
import itertools
import json
import logging
import os
import platform
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_runs import EIGHT, initial, shades, splits

from ftjax.data import Dataset, Splits
from ftjax.data.streams.train_stream import TrainStream
from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.freezing.plan.plan import FreezeSettings
from ftjax.freezing.run_length import RunLength
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.weights_identity import weights_hash
from ftjax.training.feature_cache import compute, store
from ftjax.training.feature_cache.compute import Passed
from ftjax.training.feature_cache.key import features_key, prefix_of
from ftjax.training.feature_cache.policy import Uses, decide
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.feature_cache.stored_batches import FeatureStream
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla.cost_analysis import flops_of

NETWORKS = {
    'vit': (
        'vit',
        {'image_size': 8, 'patch_size': 4, 'width': 16, 'depth': 2, 'heads': 2, 'dropout': 0.1},
    ),
    'batch_norm': ('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8}),
    'bert': (
        'bert',
        {'vocab_size': 40, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 32, 'max_positions': 16},
    ),
}
ADAM = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0)


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """Each test begins with nothing stored."""
    monkeypatch.setattr(store, '_KEPT', type(store._KEPT)())


@pytest.fixture
def computed(monkeypatch):
    """The (stages before the cut, data set, view) that were computed, in order."""
    calls, original = [], compute.compute

    def counted(network, variables, cut, loader, prep, into, augmentation, view, report):
        calls.append((cut, loader.dataset.name, view))
        original(network, variables, cut, loader, prep, into, augmentation, view, report)

    monkeypatch.setattr(compute, 'compute', counted)
    return calls


@pytest.fixture(scope='session')
def made():
    """Networks and variables by kind."""
    found = {}
    for kind, (family, options) in NETWORKS.items():
        network = build(family, {**options, 'num_classes': 3})
        found[kind] = network, initial(network)
    return found


IMAGES = splits(shades, 36, 70, 3)


@pytest.fixture(scope='session')
def words(tmp_path_factory):
    """TextPreprocessing over a vocabulary of single letters."""
    from tokenizers.implementations import BertWordPieceTokenizer

    folder = tmp_path_factory.mktemp('letters')
    known = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefghijklmnopqrstuvwxyz']
    (folder / 'vocab.txt').write_text('\n'.join(known) + '\n')
    file = folder / 'tokenizer.json'
    BertWordPieceTokenizer(str(folder / 'vocab.txt')).save(str(file))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return TextPreprocessing(
        tokenizer=str(file), sha256=sha256, vocab_size=40, max_length=16, buckets=(8, 16)
    )


def texts(name, count, lengths=(3, 4, 5)):
    rng = np.random.default_rng(len(name))
    labels = np.arange(count) % 3
    inputs = [
        ' '.join(rng.choice(list('abcdefgh'[label:]), lengths[i % len(lengths)]))
        for i, label in enumerate(labels)
    ]
    return Dataset(name=name, kind='text', inputs=inputs, labels=labels, class_names='abc')


TEXTS = Splits(train=texts('train', 36), val=texts('val', 20), test=texts('test', 3))


def spec_of(made, kind, freeze, data=None, prep=EIGHT, augment='none', **train):
    network, variables = made[kind]
    train = {'epochs': 4.0, 'eval_every': 1 / 3, 'keep': 'last', **train}
    settings = TrainSettings(**train)
    splits = data or (TEXTS if kind == 'bert' else IMAGES)
    plan = make_plan(freeze, network, variables, run_length=RunLength(12, 3))
    return RunSpec(
        network,
        variables,
        plan,
        splits,
        optimizer=ADAM,
        settings=settings,
        preprocessing=prep,
        batch_size=12,
        eval_batch_size=16,
        augmentation=augment,
    )


def run(made, kind, freeze='head', data=None, prep=EIGHT, augment='none', workdir=None, **train):
    spec = spec_of(made, kind, freeze, data, prep, augment, **train)
    return fit(spec, workdir=workdir, progress=False)


def curves(result):
    """Losses of every step, in training and validation."""
    return np.array([[row['train_loss'], row['val_loss']] for row in result.history])


@pytest.mark.parametrize(
    ('kind', 'strategy', 'stored'),
    [
        *[(kind, 'head', ['head']) for kind in NETWORKS],
        ('vit', 'last:1', ['block_01']),
        ('batch_norm', 'last:1', ['stage3_block0']),
        pytest.param('bert', 'last:1', ['block_01'], marks=pytest.mark.slow),
        ('vit', 'lp_ft', ['head']),
        pytest.param('vit', 'gradual', ['norm', 'block_01', 'block_00'], marks=pytest.mark.slow),
        pytest.param('bert', 'gradual', ['pooler', 'block_01', 'block_00'], marks=pytest.mark.slow),
    ],
)
def test_a_cached_run_has_the_losses_of_an_uncached_one(
    made, words, computed, kind, strategy, stored
):
    freeze = FreezeSettings(strategy=strategy, norm='frozen' if kind == 'batch_norm' else 'auto')
    prep = words if kind == 'bert' else EIGHT
    plain = run(made, kind, freeze, prep=prep, cache='off')
    assert computed == []
    cached = run(made, kind, freeze, prep=prep, cache='on')
    assert computed[::2] == [(cut, 'train', None) for cut in stored]
    np.testing.assert_allclose(curves(cached), curves(plain), rtol=1e-5)
    assert len(curves(cached)) == 12 and np.ptp(curves(plain)[:, 0]) > 0
    assert cached.verification.frozen_unchanged


def test_the_step_holds_no_prefix(made):
    flops = [
        run(made, 'vit', 'last:1', epochs=0.3, cache=mode).step_flops for mode in ('off', 'on')
    ]
    network, variables = made['vit']
    forward = jax.jit(lambda known, x: network.apply(known, x, stop=network.blocks[-1]))
    prefix = flops_of(forward.lower(variables, network.example_input(12)).compile())
    # All of it is gone; the uncached step normalises its images as well.
    assert 0.98 * prefix < flops[0] - flops[1] < 1.1 * prefix


def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(made, tmp_path, monkeypatch):
    whole = run(made, 'vit', 'gradual', workdir=tmp_path / 'whole', cache='on')
    update, calls = BestSoFar.update, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(BestSoFar, 'update', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(made, 'vit', 'gradual', workdir=tmp_path / 'parts', cache='on')
    store.forget()  # as in a new process
    parts = run(made, 'vit', 'gradual', workdir=tmp_path / 'parts', cache='on')
    assert all(map(np.array_equal, *map(jax.tree.leaves, (whole.variables, parts.variables))))
    assert whole.history == parts.history


def test_runs_that_agree_before_the_cut_share_what_is_stored(made, computed):
    network, variables = made['vit']
    other = {
        **variables['params'],
        'head': jax.tree.map(lambda x: x + 1, variables['params']['head']),
    }
    again = {'vit': (network, {'params': other})}
    for runs in (made, again):
        run(runs, 'vit', 'head', epochs=0.3, cache='on')
    assert computed == [('head', 'train', None), ('head', 'val', None)]
    moved = {**variables['params'], 'norm': other['norm'], 'embed': other['embed']}
    moved['embed'] = jax.tree.map(lambda x: x * 1.001, moved['embed'])
    run({'vit': (network, {'params': moved})}, 'vit', 'head', epochs=0.3, cache='on')
    assert computed[2:] == [('head', 'train', None), ('head', 'val', None)]


def test_the_key_says_all_that_features_depend_on(made):
    network, variables = made['vit']
    weights = weights_hash(prefix_of(network, variables, 'block_01'))
    given = {
        'network': network,
        'cut': 'block_01',
        'weights': weights,
        'dataset': IMAGES.train,
        'preprocessing': EIGHT,
        'image_size': None,
    }
    changes = [
        {},
        {'network': network.clone(heads=4)},
        {'cut': 'norm'},
        {'weights': weights_hash(variables)},
        {'dataset': IMAGES.train.take(np.arange(35))},
        {'preprocessing': dataclasses.replace(EIGHT, std=(0.25, 0.5, 0.5))},
        {'image_size': (8, 8)},
        {'augmentation': 'flip', 'view': 0},
        {'augmentation': 'flip', 'view': 1},
        {'augmentation': 'shift:1', 'view': 0},
    ]
    keys = [features_key(**{**given, **change}) for change in changes]
    assert len(set(keys)) == len(keys)
    assert features_key(**{**given, 'network': network.clone(num_classes=9)}) == keys[0]
    assert features_key(**given, augmentation='flip') == keys[0]  # not a view: as it is


@pytest.mark.parametrize(
    ('kind', 'freeze', 'augment', 'said'),
    [
        ('vit', 'full', 'none', "the first one, 'embed', trains"),
        ('vit', 'head', 'flip', "'flip' draws anew at every step; train.cache_views"),
        ('batch_norm', {'strategy': 'head', 'norm': 'train'}, 'none', "'stem' .* the batch"),
        ('vit', {'phases': [('50%', 'full'), (None, 'head')]}, 'none', None),
    ],
)
def test_what_is_impossible_is_refused_with_the_reason(made, kind, freeze, augment, said):
    given = {'augment': augment, 'epochs': 1.0}
    if said is None:  # later phases may not use it: the first would have to
        said = "'embed', trains"
    with pytest.raises(UserError, match=f"train.cache='on' is not possible: .*{said}"):
        run(made, kind, freeze, cache='on', **given)
    if augment != 'none':
        line = run(made, kind, freeze, cache='auto', **given).cache[0]
        assert 'features not stored' in line and "'flip' draws anew" in line


def test_later_phases_are_refused_where_weights_before_their_cut_have_trained(made):
    phases = [('4 steps', 'last:1'), ('8 steps', 'block:1'), (None, 'head')]
    lines = run(made, 'vit', {'phases': phases}, cache='on').cache
    assert 'stored in memory' in lines[0]
    assert 'block_01' not in lines[1]
    assert 'trains in the phase from step' in lines[2]


def test_leaves_made_anew_before_the_cut_are_refused(made):
    phases = [{'until': None, 'freeze': 'head', 'reinit': ('block_01/.*',)}]
    with pytest.raises(UserError, match=r'block_01/.* is given random values at step 0'):
        run(made, 'vit', {'phases': phases}, cache='on')


def test_texts_of_several_lengths_only_where_they_are_pooled(made, words, computed):
    long = (3, 11)
    data = Splits(train=texts('train', 36, long), val=texts('val', 20, long), test=TEXTS.test)
    with pytest.raises(UserError, match="several lengths flow into 'block_01'"):
        run(made, 'bert', 'last:1', data, words, cache='on')
    plain, cached = (run(made, 'bert', 'head', data, words, cache=mode) for mode in ('off', 'on'))
    np.testing.assert_allclose(curves(cached), curves(plain), rtol=1e-5)
    assert len(computed) == 2


@pytest.mark.parametrize('step', [0, 6])
def test_a_phase_without_a_cache_is_no_mistake_where_another_has_one(made, words, step):
    long = (3, 11)
    data = Splits(train=texts('train', 36, long), val=texts('val', 20, long), test=TEXTS.test)
    phases = [('6 steps', 'head'), (None, 'last:1')]
    spec = spec_of(made, 'bert', {'phases': phases}, data, words, cache='on')
    phase_state = PhaseState(spec)
    phase_state.enter(step)
    decision, _ = Sources(spec).decided(phase_state)
    assert decision.store == (step == 0)
    assert step == 0 or "several lengths flow into 'block_01'" in decision.line


def test_views_are_fixed_and_shared(made, computed):
    views = {'augment': 'flip,shift:2', 'cache': 'on', 'cache_views': 3}
    first = run(made, 'vit', 'head', **views)
    assert computed == [*(('head', 'train', view) for view in range(3)), ('head', 'val', None)]
    kept = list(store._KEPT.values())
    for one, two in itertools.pairwise(kept[:3]):
        assert not np.array_equal(one.arrays['hidden'], two.arrays['hidden'])
    stored = {key: known.arrays['hidden'].copy() for key, known in store._KEPT.items()}
    store.forget()
    again = run(made, 'vit', 'head', **views)
    assert first.history == again.history
    for key, known in store._KEPT.items():
        np.testing.assert_array_equal(known.arrays['hidden'], stored[key])


def test_a_second_run_of_the_process_computes_no_batch_again(made, monkeypatch):
    passes, original = [], compute.computed
    monkeypatch.setattr(compute, 'computed', lambda *how: passes.append(how) or original(*how))
    first = run(made, 'vit', 'head', cache='on')
    assert len(passes) == 2  # the splits
    assert run(made, 'vit', 'head', cache='on').history == first.history and len(passes) == 2
    monkeypatch.setattr(store, 'times_dropped', lambda: -1)
    assert run(made, 'vit', 'head', cache='on').history == first.history and len(passes) == 4


def test_an_example_goes_through_all_its_views(made):
    arrays = [np.full((36, 1), view, np.float32) for view in range(3)]
    views = [store.Features(str(i), {'hidden': array}) for i, array in enumerate(arrays)]
    stream = TrainStream(IMAGES.train, 12, 0)
    stored = FeatureStream(stream, views)
    seen = {}
    for step in range(9):
        batch = stored.batch(step)
        np.testing.assert_array_equal(batch['labels'], stream.batch(step)['labels'])
        for row, view in zip(batch['index'], batch['inputs']['hidden'][:, 0], strict=True):
            seen.setdefault(int(row), set()).add(int(view))
            assert view == views[int(view)].take(np.array([row]))['hidden'][0, 0]
    assert set(map(len, seen.values())) == {3} and len(seen) == 36
    assert len(set(stored.first.tolist())) == 3


def test_files_are_read_again_and_made_again_when_damaged(made, computed, tmp_path, caplog):
    given = {'cache': 'on', 'cache_bytes': 0, 'cache_folder': str(tmp_path)}
    first = run(made, 'vit', 'last:1', **given)
    assert 'in files' in first.cache[0]
    assert run(made, 'vit', 'last:1', **given).history == first.history
    assert len(computed) == 2 and not store._KEPT
    assert run(made, 'vit', 'last:1', cache='on').history == first.history
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 2 and all(len(folder.name) == 64 for folder in folders)
    del computed[:]

    def flip(folder):
        path = folder / '0.npy'
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    def rename(folder):
        said = json.loads((folder / 'features.json').read_text())
        (folder / 'features.json').write_text(json.dumps({**said, 'key': 'x'}))

    for damage in (
        flip,
        rename,
        lambda folder: (folder / '0.npy').write_bytes(b''),
        lambda folder: (folder / 'features.json').unlink(),
    ):
        caplog.clear()
        damage(folders[0])
        with caplog.at_level(logging.WARNING):
            assert run(made, 'vit', 'last:1', **given).history == first.history
        assert 'damaged' in caplog.text
        assert len(computed) == 1, damage
        del computed[:]


def test_a_failed_computation_leaves_no_files(tmp_path):
    shapes = {'hidden': jax.ShapeDtypeStruct((2,), 'bfloat16')}

    def fails(arrays):
        arrays['hidden'][0] = 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.in_files('k' * 64, shapes, 3, tmp_path, fails)
    assert list(tmp_path.iterdir()) == []

    def works(arrays):
        arrays['hidden'][:] = 1.5

    known = store.in_files('k' * 64, shapes, 3, tmp_path, works)
    assert known.take(np.array([2]))['hidden'].tolist() == [[1.5, 1.5]]
    assert str(known.arrays['hidden'].dtype) == 'bfloat16'


KILLED = """
import os, signal, sys

import jax

from ftjax.training.feature_cache.store import in_files

shapes = {'hidden': jax.ShapeDtypeStruct((2,), 'float32')}
in_files('k' * 64, shapes, 3, sys.argv[1], lambda arrays: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_killed_computation_left_goes_at_the_next_use(tmp_path, repository):
    shapes = {'hidden': jax.ShapeDtypeStruct((2,), 'float32')}
    call = [sys.executable, '-c', KILLED, str(tmp_path)]
    done = subprocess.run(call, cwd=repository, env={**os.environ, 'PYTHONPATH': str(repository)})
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    (tmp_path / '.kkk.mine').mkdir()
    elsewhere = tmp_path / left.name.replace(platform.node(), 'another-machine')
    shutil.copytree(left, elsewhere)
    for folder in (left, elsewhere):
        os.utime(folder, (1e9, 1e9))
    seen = []

    def other(arrays):
        seen.extend(tmp_path.iterdir())

    def works(arrays):
        (mine,) = {*tmp_path.iterdir()} - {elsewhere, tmp_path / '.kkk.mine'}
        os.utime(mine, (1e9, 1e9))  # however long it takes
        store.in_files('m' * 64, shapes, 3, tmp_path, other)
        assert mine in seen
        arrays['hidden'][:] = 1

    store.in_files('k' * 64, shapes, 3, tmp_path, works)
    names = {'k' * 64, 'm' * 64, '.kkk.mine', elsewhere.name}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_auto_weighs_passes_and_room():
    passed = Passed({'hidden': jax.ShapeDtypeStruct((100,), 'float32')}, 1e6)
    uses, room = Uses(examples=1000, passes=10_000), 400_000
    assert decide('auto', 'head', passed, uses, room).store
    assert '10.0 times fewer' in decide('auto', 'head', passed, uses, room).line
    small = decide('auto', 'head', passed, uses, room - 1)
    assert not small.store and "train.cache='on'" in small.line
    assert decide('on', 'head', passed, uses, room - 1).files
    assert not decide('auto', 'head', passed, Uses(1000, 1000), room).store
    cheap = dataclasses.replace(passed, flops=1000.0)
    assert not decide('auto', 'head', cheap, uses, room).store


def test_the_oldest_features_go_when_there_is_no_room():
    shapes = {'hidden': jax.ShapeDtypeStruct((1,), 'float32')}
    made = []
    for key in ('a', 'b', 'a', 'c', 'a'):
        store.in_memory(key, shapes, 10, 80, lambda arrays, key=key: made.append(key))
    assert made == ['a', 'b', 'c'] and list(store._KEPT) == ['c', 'a']


def test_settings_that_contradict_each_other():
    with pytest.raises(UserError, match='cache_views'):
        TrainSettings(cache_views=2)
    with pytest.raises(UserError, match="did you mean 'off'"):
        TrainSettings(cache='of')
