"""The same run on 1 device, on 8, sharded, and on 2 processes of 4: same losses, same files."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow
CASES = pathlib.Path(__file__).with_name('mesh_cases.py')
ROOT = CASES.parents[2]
FSDP = {'data': 4, 'fsdp': 2}
KEPT = {'cache': 'on', 'eval_every': 1.0}
RUNS = {
    'full': {'freeze': 'full'},
    'last': {'freeze': 'last:1'},
    'lora': {'freeze': 'lora:2'},
    'head': {'freeze': 'head'},
    'looped': {
        'freeze': 'last:1',
        'augment': 'shift:1,flip',
        'train': {'eval_every': 1.0},
        'optimizer': {'accumulate': 2},
    },
    'cached': {'freeze': 'last:1', 'augment': 'none', 'train': KEPT},
    'views': {'freeze': 'last:1', 'train': {**KEPT, 'cache_views': 2}},
    'weighted': {
        'freeze': 'last:1',
        'train': {'class_weights': {'b': 5.0, 'c': 20.0}},
        'optimizer': {'accumulate': 2},
    },
    'segmented': {
        'network': 'dense',
        'freeze': 'last:1',
        'augment': 'flip,pad_crop:1',
        'optimizer': {'accumulate': 2},
    },
    'mixed': {'freeze': 'last:1', 'augment': 'rand_augment:1,mixup:1,cutmix'},
    'gradual': {'freeze': 'gradual'},
    'chosen': {'freeze': 'auto_rgn'},
    'remat': {'freeze': 'full', 'train': {'remat': True}},
    'statistics': {'network': 'resnet', 'freeze': {'strategy': 'full', 'norm': 'train'}},
}
SHARDED = (
    *('full', 'last', 'lora', 'head', 'looped', 'weighted', 'segmented', 'gradual', 'remat'),
    *('chosen', 'statistics'),
)
OTHER = {'2 x 4': {'data': 2, 'fsdp': 4}, '1 x 8': {'fsdp': 8}}
PROCESSES = ('full', 'last', 'lora', 'looped', 'views', 'chosen')
GRADIENT = {
    'freeze': 'full',
    'leaves': True,
    'train': {'steps': 1, 'eval_every': 1.0, 'keep': 'last'},
    'optimizer': {
        'name': 'sgd',
        'learning_rate': 1.0,
        'momentum': 0.0,
        'weight_decay': 0.0,
        'clip_norm': None,
        'ema': 0.0,
    },
}
PARTED = {'freeze': 'last:1', 'mesh': {'fsdp': 8}, 'rules': [['block_.*', 'fsdp']]}
PINNED = {'freeze': 'last:1', 'mesh': FSDP, 'rules': [['(embed|block_00)/.*', 'whole']]}


def started(cases, file, devices, *process):
    file.write_text(json.dumps(cases))
    flag = f'--xla_force_host_platform_device_count={devices}'
    return subprocess.Popen(
        [sys.executable, str(CASES), str(file), *process],
        cwd=ROOT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])['found']


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """Results by (kind of devices, name of the run)."""
    folder = tmp_path_factory.mktemp('meshes')

    def half(name, steps=10, **also):
        train = {'steps': steps, 'eval_every': 0.25, 'keep': 'last'}
        return {'freeze': 'full', 'workdir': str(folder / name), 'train': train, **also}

    def under(mesh, *names, kind='sharded'):
        return {(kind, name): {**RUNS[name], 'mesh': mesh} for name in names}

    results = {}

    def take(cases, devices):
        done = ended(started(list(cases.values()), folder / 'cases.json', devices))
        results.update(zip(cases, done, strict=True))

    take(
        {
            **{('eight', name): case for name, case in RUNS.items()},
            **under(FSDP, *SHARDED),
            ('eight', 'rules'): PARTED,
            ('eight', 'gradient'): GRADIENT,
            ('sharded', 'gradient'): {**GRADIENT, 'mesh': FSDP},
            **{(kind, 'gradient'): {**GRADIENT, 'mesh': mesh} for kind, mesh in OTHER.items()},
            ('sharded', 'pinned'): PINNED,
            **under(OTHER['2 x 4'], 'full', 'last', 'remat', kind='2 x 4'),
            **under(OTHER['1 x 8'], 'full', 'lora', kind='1 x 8'),
            ('eight', 'down'): half('down', mesh=FSDP),
        },
        8,
    )
    both = {
        **{('processes', name): RUNS[name] for name in PROCESSES},
        **{
            ('processes, sharded', name): {**RUNS[name], 'mesh': FSDP}
            for name in ('full', 'last', 'gradual')
        },
        ('processes', 'across'): half('across', mesh=FSDP),
    }

    def take_by_two(cases):
        place = f'127.0.0.1:{free_port()}'
        pair = [
            started(list(cases.values()), folder / f'cases_{n}.json', 4, place, '2', str(n))
            for n in (0, 1)
        ]
        first, second = (ended(process) for process in pair)
        results.update(zip(cases, first, strict=True))
        return second

    second = take_by_two(both)
    results['second'] = dict(zip(both, second, strict=True))
    take(
        {
            **{('one', name): case for name, case in RUNS.items()},
            ('one', 'gradient'): GRADIENT,
            ('one', 'down'): half('down', 20),
            ('one', 'across'): half('across', 20),
            ('one', 'up'): half('up'),
            ('one', 'back'): half('back'),
            ('one', 'whole'): half('whole', 20),
        },
        1,
    )
    take({('eight', 'up'): half('up', 20, mesh=FSDP)}, 8)
    take_by_two({('processes', 'back'): half('back', 20, mesh=FSDP)})
    return results


def apart(one, other, name):
    assert len(one[name]) == len(other[name])
    return np.abs(np.subtract(one[name], other[name])).max()


@pytest.mark.parametrize('kind', ['eight', 'sharded', *OTHER])
def test_gradients_agree(found, kind):
    """Of one step at rate 1, leaf by leaf."""
    wanted, got = found['one', 'gradient']['moved'], found[kind, 'gradient']['moved']
    assert set(wanted) == set(got) and len(wanted) > 20
    largest = max(np.abs(leaf).max() for leaf in wanted.values())
    assert largest > 0.01
    for path, leaf in wanted.items():
        np.testing.assert_allclose(got[path], leaf, rtol=1e-3, atol=1e-5 * largest, err_msg=path)


def test_losses_agree_and_frozen_leaves_stay(found):
    kinds = {kind for kind, _ in (key for key in found if key != 'second')} - {'one'}
    assert kinds == {'eight', 'sharded', 'processes', 'processes, sharded', *OTHER}
    for kind, name in (key for key in found if key != 'second'):
        if name not in RUNS and name != 'pinned':
            continue
        here, there = found['one', 'last' if name == 'pinned' else name], found[kind, name]
        assert here['steps'] == 20 and len(here['losses']) in (5, 20), name
        assert apart(here, there, 'losses') < 1e-5, (kind, name)
        assert apart(here, there, 'scores') < 1e-5, (kind, name)
        assert abs(here['norm'] - there['norm']) < 1e-4, (kind, name)
        assert there['unchanged'], (kind, name)
        assert there['changed'] and here['changed'], (kind, name)
        assert here['orders'] == there['orders'] and here['trained'] == there['trained']
        assert here['cache'] == there['cache']
        assert there['rows'] == (16 if kind == 'one' else 2)
    # Stages that run again give the same numbers; all other runs differ in what they compute.
    others = [name for name in RUNS if name != 'remat']
    assert len({tuple(found['one', name]['losses']) for name in others}) == len(others)


def test_all_processes_end_alike(found):
    for key, result in found['second'].items():
        assert result['losses'] == found[key]['losses'] and result['norm'] == found[key]['norm']


@pytest.mark.parametrize(
    'kind,name',
    [
        *(('eight', name) for name in ('full', 'last', 'lora', 'head')),
        *(('processes', name) for name in ('full', 'last', 'lora')),
    ],
)
def test_data_parallel_steps_exchange_trainable_gradients_and_scalars(found, kind, name):
    run = found[kind, name]
    assert {what for what, _ in run['collectives']} == {'all-reduce'}
    exchanged, trainable = sum(size for _, size in run['collectives']), sum(run['trainable_bytes'])
    assert trainable <= exchanged <= trainable + 16


@pytest.mark.parametrize('name', ['full', 'last', 'lora', 'remat', 'pinned'])
def test_sharded_steps_gather_stage_by_stage_what_the_plan_says(found, name):
    run = found['sharded', name]
    sizes = {kind: 0 for kind, _ in run['collectives']}
    for kind, size in run['collectives']:
        sizes[kind] += size
    assert set(sizes) <= {'all-gather', 'all-reduce', 'reduce-scatter'}, name
    told, trainable = run['traffic'], sum(run['trainable_bytes'])
    gathered = sizes.get('all-gather', 0)
    # A compiler leaves out what no gradient needs: the first kernels of the stage at the cut.
    assert told['forward'] + 0.85 * told['backward'] <= gathered
    assert gathered <= told['forward'] + told['backward'], name
    # Over fsdp whole, then over data what a device keeps of it.
    reduced = sizes.get('all-reduce', 0) + sizes.get('reduce-scatter', 0)
    assert told['reduced'] + told['copied'] == trainable
    assert reduced <= 1.5 * trainable + 64, name


def test_the_plan_gathers_what_each_pass_needs(found):
    told = {name: found['sharded', name]['traffic'] for name in ('full', 'last', 'pinned', 'head')}
    large = [size for size in found['sharded', 'full']['trainable_bytes'] if size >= 4096]
    assert told['full']['forward'] == told['last']['forward'] == sum(large)
    assert told['full']['backward'] == sum(large)  # the head is small, and its leaves lie whole
    assert 0 < told['last']['backward'] < 0.6 * sum(large) and told['head']['backward'] == 0
    assert told['pinned']['forward'] == told['pinned']['backward'] == told['last']['backward']


def test_a_device_holds_its_share_of_all_leaves(found):
    for name in ('full', 'last'):
        run = found['sharded', name]
        assert 0.5 <= run['state_bytes_per_device'] / run['state_bytes'] < 0.54
        assert 0.5 <= run['held_bytes_per_device'] / run['held_bytes'] < 0.54
        assert found['eight', name]['held_bytes_per_device'] == run['held_bytes']
    eighth = found['eight', 'rules']
    assert eighth['held_bytes_per_device'] / eighth['held_bytes'] < 0.18
    # A rule pins the first block: a device holds all of it, and nothing of it is fetched.
    pinned, parted = found['sharded', 'pinned'], found['sharded', 'last']
    assert pinned['held_bytes_per_device'] > 1.2 * parted['held_bytes_per_device']
    assert pinned['traffic']['forward'] < 0.7 * parted['traffic']['forward']
    assert apart(found['one', 'last'], eighth, 'losses') < 1e-5


@pytest.mark.parametrize(
    'way', [('one', 'down'), ('one', 'across'), ('eight', 'up'), ('processes', 'back')]
)
def test_a_checkpoint_goes_on_elsewhere(found, way):
    whole, run = found['one', 'whole'], found[way]
    assert run['steps'] == 20 and len(run['losses']) == 20
    assert apart(whole, run, 'losses') < 1e-5 and abs(whole['norm'] - run['norm']) < 1e-4
    # Its first ten rows are those of the checkpoint, its steps the last ten.
    assert run['orders'] == whole['orders'][10:]
