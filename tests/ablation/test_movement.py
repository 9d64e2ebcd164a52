"""How far a run moved: exact on arrays, nothing under a frozen trunk, the same however it ran."""

import jax
import numpy as np
import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.movement import movement_fields, spread, weights_moved
from ftjax.ablation.settings import AblationSettings
from ftjax.data import Dataset
from ftjax.data.images.on_device import prepare

VALUES = {
    'init': 'glyphs',
    'data': {
        'source': 'digits:scattered',
        'examples_per_class': 2,
        'val_per_class': 2,
        'batch_size': 10,
    },
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
    'train': {'steps': 4},
}


def runner_of(*arms, **more):
    settings = AblationSettings(arms={a: a for a in arms}, rates=(1e-2, 1e-1), max_extra=0, **more)
    return CellRunner(VALUES, settings)


def test_weights_move_by_the_length_of_their_change():
    before = {'stem': {'kernel': np.array([3.0, 4.0])}, 'zero': {'bias': np.zeros(2)}, 'pool': {}}
    after = {'stem': {'kernel': np.array([3.0, 5.0])}, 'zero': {'bias': np.ones(2)}, 'pool': {}}
    assert weights_moved(before, after) == pytest.approx({'stem': 0.2})
    assert weights_moved(before, before) == {'stem': 0.0}


def test_examples_are_spread_over_the_classes():
    names = tuple('abcde')
    labels = np.repeat(np.arange(5), 20)
    data = Dataset(name='d', kind='text', inputs=['x'] * 100, labels=labels, class_names=names)
    assert np.bincount(spread(data, 10).labels).tolist() == [2] * 5
    assert spread(data, 100) is data


def test_features_move_with_the_trunk_and_not_with_the_head():
    prepared = runner_of('full').prepared('full', 0.1, 0)
    assert movement_fields(prepared, prepared.variables, [], 0) == {}
    params = prepared.variables['params']
    head = {**params, 'head': jax.tree.map(lambda x: x + 1, params['head'])}
    found = movement_fields(prepared, {**prepared.variables, 'params': head}, [], 8)
    assert found['features_moved'] == {'test': 0.0}
    assert {stage for stage, moved in found['movement'].items() if moved} == {'head'}
    block = prepared.network.blocks[-1]
    assert list(found['movement']) == list(prepared.network.stages)
    bent = {**params, block: jax.tree.map(lambda x: 1.1 * x, params[block])}
    ended = {**prepared.variables, 'params': bent}
    found = movement_fields(prepared, ended, [], 8)
    assert found['movement'][block] == pytest.approx(0.1, rel=1e-5)
    inputs = prepare(spread(prepared.data.test, 8).inputs, prepared.preprocessing)
    run = jax.jit(lambda v: prepared.network.apply(v, inputs, stop='head')['hidden'])
    one, two = (np.asarray(run(v)) for v in (prepared.variables, ended))
    mean = np.mean(np.sqrt(((two - one) ** 2).sum(1))) / np.mean(np.sqrt((one**2).sum(1)))
    assert found['features_moved']['test'] == pytest.approx(mean, rel=1e-4)


@pytest.mark.slow
def test_rows_tell_how_far_their_runs_moved_alone_or_together():
    shifted = {'noisy': {'corruption': 'gaussian_noise:0.3'}}
    runner = runner_of('head', 'last:1', also_evaluate=shifted, movement_on=20)
    head = runner('head', 0.1, 0)
    assert head['features_moved'] == {'test': 0.0, 'noisy': 0.0}
    assert head['movement']['head'] > 0 == head['movement'][runner_stages(runner)[0]]
    alone = runner('last:1', 0.1, 0)
    assert min(alone['features_moved'].values()) > 0
    together = runner.together((('last:1', 0.01, 0), ('last:1', 0.1, 0)))
    for key in ('features_moved', 'movement'):
        assert together[1][key] == pytest.approx(alone[key], rel=1e-5)
        assert together[0][key] != pytest.approx(alone[key], rel=1e-2)


def runner_stages(runner):
    return runner.prepared('head', 0.1, 0).network.stages
