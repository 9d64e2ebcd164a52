"""EWC through whole runs: what a finished run says, its hash, and what is refused."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, write_json
from ftjax.leaves import flatten
from ftjax.runs.before_training.previous_tasks import fisher_of_run
from ftjax.runs.identity import weights_identity
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.training.loop.fisher import diagonal_fisher

VALUES = {
    'init': 'glyphs',
    'freeze': {'strategy': 'last:1'},
    'optimizer': {'learning_rate': 0.01},
    'data': {
        'source': 'digits',
        'batch_size': 16,
        **{
            f'{name}_per_class': count for name, count in (('examples', 5), ('val', 2), ('test', 2))
        },
    },
    'train': {'steps': 2, 'keep': 'last', 'report': False},
}


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp('previous') / 'first'
    train(prepare(read_config(VALUES)), folder, progress=False)
    return folder


def values_of(folder, strategy='ewc:1000,8', **changes):
    more = {'train': {**VALUES['train'], 'previous': (str(folder),), **changes}}
    return read_config(
        {**VALUES, 'init': str(folder), 'freeze': {'strategy': f'last:1+{strategy}'}, **more}
    )


@pytest.mark.slow
def test_the_fisher_information_is_the_mean_of_squared_gradients(first):
    prepared = prepare(values_of(first))
    spec = run_spec(dataclasses.replace(prepared))
    found = diagonal_fisher(spec, 4)
    params = flatten(prepared.variables['params'])
    stream = spec.stream_of(
        int(np.random.default_rng((spec.seed, 0, 3)).integers(2**31)), 4, augmented=False
    )
    batch, step = stream.batch(0), spec.train_step(spec.plan.at(0))
    from ftjax.data.images.on_device import prepare as ready
    from ftjax.freezing.partition import combine

    def loss(own, number):
        one = {k: jax.tree.map(lambda x: x[number : number + 1], batch[k]) for k in batch}
        inputs = ready(one['inputs'], prepared.preprocessing)
        whole = combine({**params, **own})
        outputs = prepared.network.apply({**prepared.variables, 'params': whole}, inputs)
        total, weight = step.task.loss(outputs, one, step.loss)
        return total / weight

    own = {path: params[path] for path in found}
    each = [jax.grad(loss)(own, number) for number in range(4)]
    for path, values in found.items():
        wanted = np.mean([np.square(g[path]) for g in each], axis=0)
        np.testing.assert_allclose(values, wanted, rtol=2e-3, atol=1e-9, err_msg=path)


def test_ewc_holds_what_matters_and_says_what_it_was_made_from(first):
    prepared = prepare(values_of(first, 'ewc:100000,8'))
    assert set(prepared.importance) == set(flatten(prepared.variables['params']))
    assert 'importance' in weights_identity(prepared)
    loose = prepare(values_of(first, 'ewc:0,8'))
    known = prepared.importance
    far = {}
    for name, one in (('held', prepared), ('loose', loose)):
        result, summary = train(one, progress=False)
        assert summary['frozen_unchanged']
        old, new = flatten(one.variables['params']), flatten(result.variables['params'])
        trained = [p for p in result.plan.at(0).trainable if not p.startswith('head/')]
        far[name] = sum(float((known[p] * (new[p] - old[p]) ** 2).sum()) for p in trained)
    assert 0 < far['held'] < far['loose']


def test_what_is_no_previous_task_is_one_line(first, tmp_path):
    with pytest.raises(UserError, match='needs previous tasks'):
        prepare(values_of(first, previous=()))
    with pytest.raises(UserError, match='nothing asks for it'):
        prepare(values_of(first, 'l2_sp'))
    with pytest.raises(UserError, match='holds no finished run'):
        prepare(values_of(first, previous=(str(tmp_path),)), weights=False)
    # Of a run that is finished nothing more is asked of the runs before it.
    assert not prepare(values_of(first, previous=(str(tmp_path),)), finished=True).importance


def test_of_a_distilled_run_the_labels_are_the_task(first, tmp_path):
    folder = tmp_path / 'distilled'
    shutil.copytree(first, folder)
    config = read_json(folder / 'config.json')
    config['train']['loss'] = 'distillation:a_teacher_that_is_gone'
    write_json(folder / 'config.json', config)
    found = [fisher_of_run(each, 0, 2) for each in (first, folder)]
    assert found[0] and all(np.array_equal(found[1][path], x) for path, x in found[0].items())


def test_shapes_alone_are_enough_to_price_it(first):
    assert fisher_of_run.cache_info().maxsize == 4
    prepared = prepare(values_of(first), weights=False)
    from ftjax.training.cost.memory import step_arguments

    held, _ = step_arguments(run_spec(prepared), prepared.plan.at(0))
    assert held['references'] == 2 * held['trainable parameters']
