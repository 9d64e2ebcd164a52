"""The loop: same bits twice, same bits when interrupted, frozen leaves untouched."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_runs import EIGHT, VIT, initial, shades, splits
from tiny_runs import RESNET as NET

from ftjax.data import prepare
from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.io.json.jsonl import read_jsonl
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings, rate_factor
from ftjax.tasks import task_of
from ftjax.training.loop.fit import Diverged, fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.multi_step import longest_chunk
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

QUICK = OptimizerSettings(learning_rate=3e-1)
ADAM = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0, ema=0.5)


@pytest.fixture(scope='module')
def variables():
    return initial(NET)


@pytest.fixture(scope='module')
def data():
    return splits(shades, 36, 10, 10)


def run(variables, data, workdir=None, freeze='last:1', optimizer=ADAM, **train):
    return fit(
        RunSpec(
            NET,
            variables,
            make_plan(freeze, NET, variables),
            data,
            optimizer=optimizer,
            settings=TrainSettings(**{'epochs': 4.0, 'steps_per_call': 3, **train}),
            preprocessing=EIGHT,
            batch_size=12,
            eval_batch_size=4,
            augmentation='flip',
        ),
        workdir=workdir,
        progress=False,
    )


def same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_it_learns_and_only_what_it_should(variables, data):
    result = run(variables, data, epochs=15.0)
    assert result.validation['accuracy'] > 0.8
    assert result.verification.frozen_unchanged and result.verification.trainable_changed
    assert result.steps == 45 and result.step_seconds_median > 0 and result.step_flops > 0


def test_the_same_bits_twice_and_however_many_steps_a_call_runs(variables, data):
    first = run(variables, data, keep='last')
    assert same(first.variables, run(variables, data, keep='last').variables)


def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(
    variables, data, tmp_path, monkeypatch
):
    whole = run(variables, data, tmp_path / 'whole')
    update, calls = BestSoFar.update, []

    def interrupted(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(BestSoFar, 'update', interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(variables, data, tmp_path / 'parts')
    parts = run(variables, data, tmp_path / 'parts')
    assert same(whole.variables, parts.variables)
    assert whole.validation == parts.validation
    logs = [read_jsonl(tmp_path / name / 'metrics.jsonl') for name in ('whole', 'parts')]
    assert logs[0] == logs[1] and len(logs[0]) == 4


def test_a_loss_that_is_no_number_stops_the_run(variables, data):
    wild = dataclasses.replace(ADAM, name='sgd', learning_rate=1e30, clip_norm=None, ema=0.0)
    with pytest.raises(Diverged, match='learning_rate'):
        run(variables, data, freeze='full', optimizer=wild)


def test_patience_stops_early(variables, data):
    still = dataclasses.replace(ADAM, learning_rate=1e-12, weight_decay=0.0)
    assert run(variables, data, freeze='head', optimizer=still, patience=1).steps < 12


def test_chunks_end_where_validation_is_due():
    assert [longest_chunk(n, 8) for n in (1, 7, 12, 16)] == [1, 7, 6, 8]


def test_schedules_meet_their_ends():
    for name, last in (('cosine', 0.0), ('linear', 0.1), ('constant', 1.0)):
        settings = ScheduleSettings(name=name, warmup=0.1, end=0.1 if name == 'linear' else 0.0)
        factors = [rate_factor(settings, step, 1000) for step in range(1000)]
        assert factors[0] == pytest.approx(0.01) and max(factors) == 1.0
        assert factors[-1] == pytest.approx(last, abs=2e-3)
    test = ScheduleSettings(name='range_test:0.01')
    rising = [rate_factor(test, step, 11) for step in range(11)]
    np.testing.assert_allclose(rising, np.geomspace(0.01, 1, 11))  # no warm-up before it
    pieces = ScheduleSettings(name='piecewise', warmup=0.0, boundaries=(0.5, 0.75))
    assert [rate_factor(pieces, s, 4) for s in range(4)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize(
    'metric',
    ['log_loss', *(pytest.param(m, marks=pytest.mark.slow) for m in ('f1_macro', 'brier'))],
)
def test_the_best_weights_are_those_of_the_metric_that_is_asked_for(variables, data, metric):
    found = run(variables, data, metric=metric, optimizer=QUICK)
    sign = task_of(data.task).metric(metric).sign
    values = [row[f'val_{metric}'] for row in found.history]
    assert [row['val_score'] for row in found.history] == [sign * value for value in values]
    best = found.history[int(np.argmax([sign * value for value in values]))]
    assert found.validation[metric] == best[f'val_{metric}']
    with pytest.raises(UserError, match=r"config.train.metric: 'mse' is none of a task of class"):
        run(variables, data, metric='mse')


def test_parts_of_a_batch_count_by_what_they_hold(data):
    variables = initial(VIT)
    plan = make_plan('head', VIT, variables)
    images = prepare(data.train.inputs[:8], EIGHT)
    mask = np.float32([1, 1, 1, 0, 1, 0, 0, 0])  # three examples in one part, one in the other
    batch = {'inputs': images, 'labels': data.train.labels[:8], 'mask': mask}
    found = []
    for parts in (1, 2):
        settings = dataclasses.replace(ADAM, accumulate=parts, ema=0.0)
        phase_state = PhaseState(RunSpec(VIT, variables, plan, optimizer=settings))
        phase_state.enter(0)
        rates = np.full(len(phase_state.phase.trainable), 1e-3, np.float32)
        step = jax.jit(phase_state.step())
        _, metrics = step(phase_state.state, phase_state.frozen, batch, rates)
        found.append((float(metrics['loss']), float(metrics['grad_norm'])))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
