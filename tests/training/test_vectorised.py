"""Many runs in one program are the runs one by one."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_runs import EIGHT, initial, shades, splits

from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps import vmapped_runs
from ftjax.training.sweeps.vmapped_fit import fit_many

NET = build(
    'vit',
    {
        'image_size': 8,
        'patch_size': 4,
        'width': 16,
        'depth': 2,
        'heads': 2,
        'dropout': 0.1,
        'num_classes': 3,
    },
)
ADAM = OptimizerSettings(learning_rate=1.0, weight_decay=0.1, clip_norm=1.0, ema=0.5)
SETTINGS = TrainSettings(epochs=3.0, eval_every=1.0)
SCHEDULE = ScheduleSettings()


DATA = splits(shades, 36, 22, 3)


@pytest.fixture(scope='module')
def variables():
    """By seed: the same trunk, heads of their own."""
    made = initial(NET)
    heads = [jax.jit(NET.init)(jax.random.key(n), NET.example_input()) for n in (3, 4)]
    return {
        seed: {'params': {**made['params'], 'head': head['params']['head']}}
        for seed, head in zip((3, 4), heads, strict=True)
    }


def many(variables, freeze='head', rates=(1e-3, 1e-2, 1e-1), **changes):
    given = {'optimizer': ADAM, 'schedule': SCHEDULE, 'settings': SETTINGS, **changes}
    plan = make_plan(freeze, NET, variables[3])
    sizes = {'batch_size': 12, 'eval_batch_size': 16}
    spec = RunSpec(NET, variables[3], plan, DATA, preprocessing=EIGHT, **sizes, **given)
    return fit_many(spec, variables, rates)


def alone(variables, cell, freeze='head', **changes):
    settings = dataclasses.replace(SETTINGS, cache='off', **changes)
    return fit(
        RunSpec(
            NET,
            variables[cell.seed],
            make_plan(freeze, NET, variables[cell.seed]),
            DATA,
            optimizer=dataclasses.replace(ADAM, learning_rate=cell.rate),
            schedule=SCHEDULE,
            settings=settings,
            preprocessing=EIGHT,
            batch_size=12,
            eval_batch_size=16,
            seed=cell.seed,
        ),
        progress=False,
    )


@pytest.mark.parametrize(('freeze', 'keep'), [('head', 'best'), ('last:1', 'last')])
def test_each_cell_is_the_run_that_fit_makes_of_it(variables, freeze, keep):
    settings = dataclasses.replace(SETTINGS, keep=keep)
    cells = many(variables, freeze, settings=settings)
    found = [(cell.seed, cell.rate) for cell in cells]
    assert found == [(s, r) for s in (3, 4) for r in (1e-3, 1e-2, 1e-1)]
    for cell in cells:
        one = alone(variables, cell, freeze, keep=keep)
        assert cell.status == 'ok' and len(cell.losses) == one.steps == 9
        by_epoch = cell.losses.reshape(3, 3).mean(axis=1)
        said = [row['train_loss'] for row in one.history]
        np.testing.assert_allclose(by_epoch, said, rtol=1e-5)
        for row, other in zip(cell.history, one.history, strict=True):
            for name, value in row.items():
                assert value == pytest.approx(other[name], rel=1e-5)
        assert cell.best_step == one.best_step
        assert cell.validation == pytest.approx(one.validation, rel=1e-5)
        for path, leaf in cell.trainable.items():
            if path.endswith('key/bias'):
                continue  # softmax does not see it: its gradient is rounding alone
            stage, *rest = path.split('/')
            want = one.variables['params'][stage]
            for name in rest:
                want = want[name]
            assert np.linalg.norm(leaf - want) <= 1e-3 * np.linalg.norm(want), path
    curves = np.stack([cell.losses for cell in cells])
    assert len(np.unique(curves, axis=0)) == len(cells)


def test_a_run_that_diverges_leaves_the_others_alone(variables):
    wild = dataclasses.replace(ADAM, name='sgd', clip_norm=None, ema=0.0, weight_decay=0.0)
    cells = many(variables, rates=(1e-2, 1e38), optimizer=wild)
    assert [cell.status for cell in cells] == ['ok', 'diverged'] * 2
    both = many(variables, rates=(1e-2, 1e-3), optimizer=wild)
    np.testing.assert_allclose(cells[0].losses, both[0].losses, rtol=1e-6)


@pytest.mark.parametrize(
    ('freeze', 'settings', 'said'),
    [
        ('head+l2_sp', SETTINGS, 'weights of the start'),
        ('head', dataclasses.replace(SETTINGS, patience=1), 'patience'),
        ('full', SETTINGS, 'convolution'),
    ],
)
def test_what_cannot_share_a_program_is_refused(variables, freeze, settings, said):
    with pytest.raises(UserError, match=f'runs cannot share a program: .*{said}'):
        many(variables, freeze, settings=settings)


def test_flops_of_a_step_are_those_of_all_its_parts(variables, monkeypatch):
    short, parts = TrainSettings(steps=1, keep='last'), dataclasses.replace(ADAM, accumulate=3)
    monkeypatch.setattr(vmapped_runs, 'flops_of', lambda _: 20.0)
    cells = many(variables, rates=(1e-3,), optimizer=parts, settings=short)
    assert [cell.step_flops for cell in cells] == [30.0, 30.0]  # of three parts, shared by two runs


def test_trunks_that_differ_are_refused(variables):
    trunk = jax.tree.map(lambda x: x + 1, variables[4]['params']['block_00'])
    other = {**variables, 4: {'params': {**variables[4]['params'], 'block_00': trunk}}}
    with pytest.raises(UserError, match=r'frozen leaf block_00/.* differs from seed 3 to seed 4'):
        many(other)
