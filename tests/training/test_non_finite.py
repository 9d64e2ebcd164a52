"""A NaN or an infinity stops the run where it is, or is skipped and counted, never trained on."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from tiny_runs import VIT as NET
from tiny_runs import initial, noise, splits

from ftjax.data import TrainStream
from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.io.files.saved_step import restored
from ftjax.io.json.jsonl import read_jsonl
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.fit import Diverged, fit
from ftjax.training.loop.metric_accumulator import MetricAccumulator
from ftjax.training.loop.non_finite import FILE, described, gradient_norms, shown
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

ADAM = OptimizerSettings(learning_rate=1e-2)
STEPS, BATCH = 12, 4


def data(bad=()):
    made = splits(noise, 24, 6, 6)
    images = made.train.inputs.copy()
    images[list(bad)] = np.nan
    return dataclasses.replace(made, train=dataclasses.replace(made.train, inputs=images))


@pytest.fixture(scope='module')
def variables():
    return initial(NET)


def run(variables, data, folder=None, optimizer=ADAM, freeze='last:1', **train):
    return fit(
        RunSpec(
            NET,
            variables,
            make_plan(freeze, NET, variables),
            data,
            optimizer=optimizer,
            settings=TrainSettings(
                **{'steps': STEPS, 'steps_per_call': 6, 'cache': 'off', **train}
            ),
            batch_size=BATCH,
            eval_batch_size=6,
        ),
        workdir=folder,
        progress=False,
    )


def step_of(example, after=0):
    """The step, from 1, whose batch holds an example."""
    stream = TrainStream(noise('train', 24), BATCH, 0)
    return next(s + 1 for s in range(after, STEPS) if example in stream.batch(s)['index'])


def test_the_step_is_exact_inside_a_call_and_the_batch_is_named(variables, tmp_path):
    seen = [step_of(example) for example in range(24)]
    bad = seen.index(5)  # in the middle of the first call of six
    with pytest.raises(Diverged) as caught:
        run(variables, data([bad]), tmp_path)
    message = str(caught.value)
    assert message.startswith('the loss is nan at step 5; examples ') and '\n' not in message
    assert 'largest gradient norms by stage: block_01 nan, norm nan, head nan' in message
    told = json.loads((tmp_path / FILE).read_text())
    stream = TrainStream(data().train, BATCH, 0)
    assert told['examples'] == [data().train.ids[i] for i in stream.batch(4)['index']]
    assert data().train.ids[bad] in told['examples'] and told['step'] == 5
    assert told['gradient_norms']['head'] == 'nan'
    assert 'checkpoint' not in message


def test_the_last_good_checkpoint_stays(variables, tmp_path):
    late = next(e for e in range(24) if step_of(e) > 3)
    with pytest.raises(Diverged, match='the last good checkpoint is that of step 3;'):
        run(variables, data([late]), tmp_path, eval_every=0.5, steps_per_call=3)
    found = restored(tmp_path / 'checkpoints')
    assert found.step == 3
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found.items['state']))


def test_an_infinite_gradient_stops_it_before_it_moves_anything(variables, tmp_path):
    """A head of zeros gives a finite loss; what reaches it is too large to be squared."""
    grown = jax.tree.map(np.array, variables)
    grown['params']['norm']['norm']['scale'] = np.full(8, 1e30, np.float32)
    grown['params']['head']['dense']['kernel'] = np.zeros((8, 3), np.float32)
    with pytest.raises(Diverged, match=r'the gradient norm is inf \(the loss is 1.099\) at step 1'):
        run(grown, data(), tmp_path, freeze='head')


def test_bad_steps_are_skipped_counted_and_change_nothing(variables, tmp_path, caplog):
    early = next(e for e in range(24) if step_of(e) == 2)
    again = step_of(early, after=6)
    result = run(variables, data([early]), tmp_path, skip_bad=2, keep='last')
    assert result.steps == STEPS and result.steps_skipped == 2
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(result.variables))
    rows = read_jsonl(tmp_path / 'metrics.jsonl')
    assert [row['skipped'] for row in rows] == [1, 1]
    assert all(math.isfinite(row['train_loss']) for row in rows)
    assert 'step 2 is skipped: the loss is nan; examples ' in caplog.text
    assert f'step {again} is skipped' in caplog.text
    with pytest.raises(Diverged, match=f'at step {again};'):
        run(variables, data([early]), skip_bad=1)


def test_a_skipped_step_is_as_if_its_batch_had_not_been(variables):
    """SGD without momentum: the run with a bad batch, and the same with that rate at 0."""
    early = next(e for e in range(24) if step_of(e) == 1)
    sgd = OptimizerSettings(name='sgd', momentum=0.0, weight_decay=0.0, learning_rate=0.1)
    found = run(
        variables, data([early]), optimizer=sgd, steps=1, skip_bad=1, freeze='full', keep='last'
    )
    assert all(
        map(np.array_equal, jax.tree.leaves(found.variables), jax.tree.leaves(dict(variables)))
    )


def test_a_good_run_has_the_same_bits_with_and_without_skipping(variables):
    one = run(variables, data(), keep='last')
    other = run(variables, data(), keep='last', skip_bad=3)
    assert all(
        map(np.array_equal, jax.tree.leaves(one.variables), jax.tree.leaves(other.variables))
    )
    assert 'skipped' in other.history[0] and 'skipped' not in one.history[0]


def test_a_run_that_goes_on_with_fewer_skips_than_it_made_has_none_left():
    before = MetricAccumulator(allowed=3)
    assert before.add([math.nan] * 2, [1.0] * 2) == ([0, 1], None)
    after = MetricAccumulator.from_saved(before.to_saved(), allowed=1)
    assert after.skips_left == 0  # below 0 the program would move nothing any more
    assert after.add([1.0, math.nan], [1.0, 1.0]) == ([], 1)


def test_norms_by_stage_are_those_of_the_gradient(variables):
    plan = make_plan('full', NET, variables)
    phase_state = PhaseState(
        RunSpec(
            NET,
            variables,
            plan,
            optimizer=ADAM,
        )
    )
    phase_state.enter(0)
    batch = {
        k: TrainStream(data().train, BATCH, 0).batch(0)[k] for k in ('inputs', 'labels', 'mask')
    }
    rates = np.ones(len(phase_state.phase.trainable), np.float32)
    before = jax.device_get(phase_state.state)
    norms = gradient_norms(phase_state, batch, rates)
    _, metrics = jax.jit(phase_state.step())(phase_state.state, phase_state.frozen, batch, rates)
    total = math.sqrt(sum(norm**2 for norm in norms.values()))
    assert total == pytest.approx(float(metrics['grad_norm']), rel=1e-5)
    assert list(norms) and set(norms) == {'embed', 'block_00', 'block_01', 'norm', 'head'}
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(phase_state.state)))


def test_words():
    assert described({'loss': math.inf, 'grad_norm': math.nan}) == 'the loss is inf'
    assert shown(list('abcdefgh')) == 'a, b, c, d, e, f and 2 more'
    assert shown(['a']) == 'a'


@pytest.mark.parametrize('bad', [-1, 1.5, 'two', True])
def test_what_may_be_skipped_is_a_number_of_steps(bad):
    with pytest.raises(UserError, match=r'train\.skip_bad is'):
        TrainSettings(skip_bad=bad)


def test_a_rate_too_high_is_named(variables):
    wild = dataclasses.replace(ADAM, name='sgd', learning_rate=1e30)
    with pytest.raises(Diverged, match=r'learning_rate \(it is 1e\+30\)'):
        run(variables, data(), optimizer=wild)
