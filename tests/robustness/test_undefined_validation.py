"""Weights are never chosen by a validation that has no examples or gives no numbers."""

import functools
import math

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data import Splits
from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.runs.network_opening import open_network
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks import Task, task_of, tasks
from ftjax.tasks.metrics import metric_of
from ftjax.training.loop import fit as fit_module
from ftjax.training.loop.validation import BestSoFar, rank

VALUES = {
    'init': '',
    'model': {
        'name': 'vit',
        'image_size': 8,
        'patch_size': 4,
        'width': 8,
        'depth': 1,
        'heads': 2,
    },
    'freeze': 'full',
    'data': {'batch_size': 8, 'eval_batch_size': 8},
    'optimizer': {'learning_rate': 1e-2},
    'train': {'epochs': 3.0},
}


def dataset(count, name='stripes', seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    inputs = (rng.random((count, 8, 8, 3)) * 100 + 100 * labels[:, None, None, None]).astype(
        np.uint8
    )
    return Dataset(
        name=name, kind='image', inputs=inputs, labels=labels, class_names=('dark', 'light')
    )


def splits(val=8):
    return Splits(train=dataset(32), val=dataset(val, 'stripes val', 1), test=dataset(16, seed=2))


def prepared(val=8, **train_settings):
    config = read_config({**VALUES, 'train': {**VALUES['train'], **train_settings}})
    return prepare(config, splits(val), opened())


@functools.cache
def opened():
    return open_network(read_config(VALUES), splits())


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({}, "train.keep='best' chooses by validation, and stripes val holds no .*keep='last'"),
        ({'keep': 'last', 'patience': 2}, 'train.patience chooses by validation'),
    ],
)
def test_no_validation_examples_are_refused_before_the_run(given, words):
    with pytest.raises(UserError, match=words):
        prepared(val=0, **given)


@pytest.mark.parametrize('strategy', ['soup_greedy:2', 'wise_ft'])
def test_averages_that_validation_chooses_need_examples_too(strategy):
    config = read_config({**VALUES, 'freeze': f'full+{strategy}', 'train': {'keep': 'last'}})
    with pytest.raises(UserError, match='chooses by validation'):
        prepare(config, splits(val=0), opened())


@pytest.fixture(scope='module')
def last():
    return train(prepared(keep='last'), progress=False)[0]


def test_the_last_weights_are_those_of_the_last_step(tmp_path, last):
    without, result = train(prepared(val=0, keep='last'), tmp_path / 'run', progress=False)
    same = map(np.array_equal, *map(jax.tree.leaves, (without.variables, last.variables)))
    assert all(same) and without.steps == 12 and result['validation'] == {}
    assert not any(key.startswith('val_') for row in without.history for key in row)


NUMBERS = {'loss': 0.5, 'accuracy': 0.5, 'score': 0.5}
NAN = {'loss': math.nan, 'accuracy': 0.5, 'score': 0.5}  # argmax of NaN is class 0


@pytest.mark.parametrize(
    ('seen', 'best', 'since'),
    [
        ([NAN, NUMBERS], 2, 0),  # numbers win over none
        ([NUMBERS, NAN, NAN], 1, 2),
        ([NAN, NAN, NAN], 3, 2),  # nothing to choose by: the last
        ([{}, {}], 2, 1),
        ([{**NUMBERS, 'score': math.nan}, NUMBERS], 2, 0),
        ([{**NUMBERS, 'loss': math.inf}, NAN], 1, 1),
    ],
)
def test_a_validation_without_numbers_loses_to_any_other(seen, best, since):
    found = BestSoFar(patience=2)
    for step, values in enumerate(seen, start=1):
        found.update(step, values)
        saved = found.to_json(metric_of('accuracy'))
        found = BestSoFar.from_json(saved, 2, metric_of('accuracy'))  # as after an interruption
    assert (found.step, found.since, found.exhausted) == (best, since, since >= 2)
    assert found.defined == any(rank(values) > -math.inf for values in seen)


def test_where_no_validation_gives_numbers_the_last_weights_are_kept(monkeypatch, caplog, last):
    validate = Task.validate

    def undefined(self, outputs, metric='', **more):
        return {**validate(self, outputs, metric, **more), 'score': math.nan}

    monkeypatch.setattr(Task, 'validate', undefined)
    monkeypatch.setattr(fit_module._log, 'propagate', True)
    with caplog.at_level('WARNING', logger='ftjax'):
        found, _ = train(prepared(), progress=False)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (found.variables, last.variables))))
    assert found.best_step == 12 and 'the last weights are kept' in caplog.text


@pytest.mark.parametrize('task', list(tasks()))
def test_a_split_without_examples_has_no_score(task):
    assert task_of(task).validate([]) == {}
