"""A run's checkpoints as init: what was trained over what it began with, whole or refused."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ftjax.api import finetune
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import as_settings
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import description, save_description
from ftjax.pretrained.run_checkpoint import RunSource, beginning

GOLDENS = pathlib.Path(__file__).parent / 'goldens'


def made(folder, golden, size, freeze, **config):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, *size), np.uint8)
    names = np.array(['ant', 'bee', 'cat'])
    np.savez(folder / 'x.npz', x=images, y=random.integers(0, 3, 40), class_names=names)
    run = finetune(
        str(GOLDENS / golden / 'model'),
        f'npz:{folder / "x.npz"}',
        freeze=freeze,
        train={'steps': 4, 'eval_every': 0.5, **config.pop('train', {})},
        data_settings={'batch_size': 8},
        **config,
    ).run(folder / 'run', progress=False)
    return run, folder / 'run'


@pytest.fixture(scope='module')
def lora_run(tmp_path_factory):
    return made(tmp_path_factory.mktemp('lora'), 'vit', (16, 16, 3), 'lora:2')


def same(left, right):
    left, right = flatten(left), flatten(right)
    assert left.keys() == right.keys()
    for key, leaf in left.items():
        np.testing.assert_array_equal(leaf, right[key], err_msg=key)


def test_the_best_checkpoint_is_the_finished_network(lora_run):
    run, folder = lora_run
    found = load_pretrained(str(folder / 'checkpoints'))
    same(found.variables, load_pretrained(str(folder)).variables)
    assert found.network == run.prepared.network
    assert found.class_names == ('ant', 'bee', 'cat')
    assert found.preprocessing == run.prepared.preprocessing
    assert found.report.head == 'kept'
    steps = sorted(int(path.name) for path in (folder / 'checkpoints').iterdir())
    best = json.loads((folder / 'result.json').read_text())['best_step']
    assert found.report.source == str(folder / 'checkpoints' / str(best))
    other = next(step for step in steps if step != best)
    one = load_pretrained(str(folder / 'checkpoints' / str(other)))
    left, right = (flatten(each.variables) for each in (one, found))
    moved = {key.split('/')[-1] for key in left if not np.array_equal(left[key], right[key])}
    assert moved == {'lora_a', 'lora_b', 'kernel', 'bias'}  # the last two are the head's


def test_a_run_that_has_not_finished_opens_by_its_description(lora_run, tmp_path):
    run, folder = lora_run
    finished = load_pretrained(str(folder))
    copy = shutil.copytree(folder, tmp_path / 'run')
    shutil.rmtree(copy / 'model')
    shutil.rmtree(copy / 'network')  # as a run of an earlier version left it
    with pytest.raises(UserError, match='does not say which network'):
        load_pretrained(str(copy / 'checkpoints'))
    prepared = run.prepared
    names = prepared.data.class_names
    save_description(copy / 'network', prepared.network, prepared.preprocessing, names)
    found = load_pretrained(str(copy / 'checkpoints'))
    same(found.variables, finished.variables)
    new = load_pretrained(str(copy / 'checkpoints'), num_classes=5)
    assert new.report.head == 'new'
    assert new.variables['params']['head']['dense']['kernel'].shape == (24, 5)
    shown = inspect(str(copy / 'checkpoints'))
    assert sum(shown.parameters.values()) == sum(
        leaf.size for leaf in jax.tree.leaves(finished.variables)
    )


def test_another_beginning_is_refused(lora_run, tmp_path):
    """Frozen leaves are read from what the run began with; a finished run holds its own."""
    _, folder = lora_run
    copy, begun = shutil.copytree(folder, tmp_path / 'run'), tmp_path / 'model'
    shutil.copytree(GOLDENS / 'vit' / 'model', begun)
    config = json.loads((copy / 'config.json').read_text())
    (copy / 'config.json').write_text(json.dumps({**config, 'init': str(begun)}))
    whole = load_pretrained(str(copy / 'checkpoints'))
    file = begun / 'model.safetensors'
    tensors = load_file(file)
    name = next(name for name in tensors if 'layer.0' in name and name.endswith('weight'))
    save_file({**tensors, name: tensors[name] + np.float32(1e-3)}, file, {'format': 'pt'})
    with pytest.raises(UserError, match='the pretrained weights differ from what the run began'):
        load_pretrained(str(copy / 'checkpoints'))
    same(load_pretrained(str(copy)).variables, whole.variables)


@pytest.mark.slow
def test_moving_statistics_and_averages_are_the_checkpoints(tmp_path):
    _, folder = made(tmp_path, 'resnet', (16, 16, 3), 'full', optimizer={'ema': 0.5})
    finished = load_pretrained(str(folder))
    assert 'batch_stats' in finished.variables
    same(load_pretrained(str(folder / 'checkpoints')).variables, finished.variables)
    # Everything trained: what the run began with is not asked for.
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, 'init': '/gone'}))
    same(load_pretrained(str(folder / 'checkpoints')).variables, finished.variables)
    config['freeze'] = {'strategy': 'full', 'norm': 'recompute'}
    (folder / 'config.json').write_text(json.dumps(config))
    same(load_pretrained(str(folder / 'checkpoints')).variables, finished.variables)


@pytest.mark.parametrize(
    'classes, options', [(4, {'pool': 'none'}), (0, {'head': 'vector', 'pool': 'cls'})]
)
def test_a_beginning_has_the_head_that_the_labels_asked_for(classes, options, tmp_path):
    """Of tags and of embeddings; the run's config.json does not name it."""
    init = str(GOLDENS / 'bert_minilm' / 'model')
    found = load_pretrained(init, num_classes=classes, options=options)
    network, _ = with_adapters(as_settings('lora:2'), found.network, found.variables)
    for each in (found.network, network):
        config = description(tmp_path, each, None, (), None)
        again, report = beginning(config, {'init': init, 'seed': 0, 'model': {}}, load_pretrained)
        same(again, found.variables)
        assert report['loaded'] == found.report.to_json()['loaded']


def test_a_random_beginning_has_the_sizes_of_its_data(tmp_path):
    """Features and codes of a table follow from its rows; the run's config.json has neither."""
    network = build('mlp', {'features': 3, 'codes': (2, 4), 'width': 8, 'depth': 1})
    config = description(tmp_path, network, None, (), None)
    run = {'init': '', 'model': {'name': 'mlp', 'width': 8, 'depth': 1}, 'seed': 5}
    same(beginning(config, run, load_pretrained)[0], random_variables(network, 5))
    with pytest.raises(UserError, match=r'neither init nor model\.name'):
        beginning(config, {}, load_pretrained)


def damage_array(step):
    data = max((step / 'state' / 'd').iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


def damage_manifest(step):
    path = step / 'manifest' / 'metadata'
    path.write_bytes(path.read_bytes().replace(b'"step":', b'"stop":'))


def lose_manifest(step):
    (step / 'manifest' / 'metadata').unlink()


def swap_hashes(step):
    import hashlib

    path = step / 'manifest' / 'metadata'
    manifest = json.loads(path.read_bytes())
    del manifest['sha256']
    numbers = manifest['hashes']['state']
    key = manifest['items']['state']['dict']['trainable']['dict']['head/dense/bias']['array']
    numbers[key] = '0' * 64
    text = json.dumps(manifest, sort_keys=True, separators=(',', ':'))
    manifest['sha256'] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    'damage, message',
    [
        (damage_array, r'damaged|hash differs'),
        (damage_manifest, 'is damaged: its manifest is not what was saved'),
        (lose_manifest, 'is damaged: it has no manifest'),
        (swap_hashes, 'params/head/dense/bias is not what was saved'),
    ],
)
def test_damage_is_named(lora_run, damage, message, tmp_path):
    copy = shutil.copytree(lora_run[1], tmp_path / 'run')
    step = min((copy / 'checkpoints').iterdir(), key=lambda path: path.name)
    damage(step)
    with pytest.raises(UserError, match=message):
        load_pretrained(str(step))


def test_frozen_statistics_that_the_run_made_are_not_guessed(tmp_path):
    _, folder = made(tmp_path, 'resnet', (16, 16, 3), 'head')
    same(
        load_pretrained(str(folder / 'checkpoints')).variables,
        load_pretrained(str(folder)).variables,
    )
    config = json.loads((folder / 'config.json').read_text())
    config['freeze'] = {**config['freeze'], 'norm': 'recompute'}
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(UserError, match='estimated frozen running statistics'):
        load_pretrained(str(folder / 'checkpoints'))


def test_only_what_was_trained_is_read(lora_run):
    step = min((lora_run[1] / 'checkpoints').iterdir(), key=lambda path: path.name)
    source = RunSource(step)
    leaves = {name.rsplit('/', 1)[-1] for name in source.names}
    assert leaves == {'lora_a', 'lora_b', 'kernel', 'bias'}
    assert source.shape('params/head/dense/kernel') == (24, 3)
    with pytest.raises(UserError, match='is damaged: it has no manifest'):
        RunSource(lora_run[1])
