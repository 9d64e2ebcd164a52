"""One program for any set of open leaves: the steps of programs of their own, and no more work."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import EIGHT, RESNET, VIT, initial, shades, splits

from ftjax.freezing.plan.plan import Plan, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.fit import fit
from ftjax.training.loop.trial_plan import runs_alike, trial_plan
from ftjax.training.settings import TrainSettings
from ftjax.training.step.dynamic_backward import ALL, INPUTS, NOTHING, where_wanted
from ftjax.training.step.multi_step import MultiStep
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla import program_cache

SHALLOW = VIT.clone(depth=1)
TOKENS = np.random.default_rng(0).integers(1, 12, (4, 7)).astype(np.int32)
ADAM = OptimizerSettings(learning_rate=0.1, weight_decay=0.3, clip_norm=0.5)


def images():
    pixels = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    return SHALLOW, {'inputs': pixels, 'labels': np.arange(4, dtype=np.int32) % 3}


def texts():
    """A language model whose head is the table of its first stage, and a mask of whole numbers."""
    sizes = {'vocab_size': 12, 'max_positions': 8, 'width': 8, 'depth': 2, 'heads': 2}
    net = build('gpt2', {**sizes, 'dropout': 0.0, 'head': 'lm', 'tied': True})
    mask = np.ones((4, 6), np.int32)
    inputs = {'input_ids': TOKENS[:, :-1], 'attention_mask': mask}
    return net, {'inputs': inputs, 'labels': TOKENS[:, 1:]}


def phase_state_of(net, variables, plan, open_, adam=ADAM, **how):
    weights = {path: float(path.split('/')[0] in open_) for path in plan.base.trainable}
    phase = plan.phase_of(0, weights, **how)
    phase_state = PhaseState(
        RunSpec(
            net,
            variables,
            Plan('', (phase,), base=phase),
            optimizer=adam,
        )
    )
    phase_state.enter(0)
    return phase_state


def two_steps(phase_state, step, batch):
    """The leaves after two steps, and their losses and norms."""
    mask = np.ones(np.shape(batch['labels']), np.float32)
    rates = 0.1 * jnp.asarray(phase_state.phase.multipliers, jnp.float32)
    state, found = phase_state.state, []
    for _ in range(2):
        state, metrics = step(state, phase_state.frozen, {**batch, 'mask': mask}, rates)
        found.append([float(metrics['loss']), float(metrics['grad_norm'])])
    return jax.device_get(state.trainable), found


@pytest.mark.parametrize(
    ('case', 'also'),
    [
        (images, {}),
        pytest.param(texts, {'accumulate': 2, 'ema': 0.9}, marks=pytest.mark.slow),
    ],
)
def test_steps_are_those_of_a_program_of_its_own(case, also):
    net, batch = case()
    adam = dataclasses.replace(ADAM, **also)
    variables = initial(net)
    plan = make_plan('subtuning', net, variables, run_length=RunLength(12, 2))
    top = net.stages[net.stages.index(net.blocks[-1]) + 1 :]
    shared, key = None, None
    for lower in (net.stages[:1], net.blocks[-1:]):
        phase_state = phase_state_of(net, variables, plan, {*lower, *top}, adam, by_rates=True)
        if shared is None:
            shared, key = jax.jit(phase_state.step()), phase_state.step()
        assert phase_state.step() == key or not net.noiseless
        before = jax.device_get(phase_state.state.trainable)
        after, metrics = two_steps(phase_state, shared, batch)
        own = phase_state_of(net, variables, plan, {*lower, *top}, adam)
        wanted, expected = two_steps(own, jax.jit(own.step()), batch)
        np.testing.assert_allclose(metrics, expected, rtol=1e-4)
        for path, leaf in before.items():
            if path not in wanted:
                assert after[path].tobytes() == leaf.tobytes(), path
            elif not path.endswith('key/bias'):  # softmax does not see it: its gradient is rounding
                np.testing.assert_allclose(after[path], wanted[path], atol=1e-5, err_msg=path)
    assert shared._cache_size() == 1


@pytest.mark.parametrize(
    ('wanted', 'ran'), [(NOTHING, []), (INPUTS, ['inputs']), (ALL, ['inputs', 'leaves'])]
)
def test_a_backward_pass_that_is_not_wanted_does_not_run(wanted, ran):
    seen = []

    def told(name):
        """The identity, whose gradient tells that it was computed."""

        @jax.custom_vjp
        def same(x):
            return x

        def note(given):
            seen.append(name)
            return given

        def backward(_, given):
            return (jax.pure_callback(note, given, given),)

        same.defvjp(lambda x: (x, None), backward)
        return same

    def stage(leaves, others, inputs):
        x = told('inputs')(inputs['x']) * told('leaves')(leaves['w'])
        return {'x': x.sum(), 'mask': inputs['mask']}, others

    def loss(leaves, x, wanted):
        run = where_wanted(stage, wanted, first=False)
        return run(leaves, {}, {'x': x, 'mask': jnp.arange(2)})[0]['x']

    w, x = jnp.array([2.0, 3.0]), jnp.array([5.0, 7.0])
    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))({'w': w}, x, jnp.int32(wanted))
    jax.block_until_ready(grads)
    assert sorted(seen) == ran
    np.testing.assert_array_equal(grads[0]['w'], x if wanted == ALL else jnp.zeros(2))
    np.testing.assert_array_equal(grads[1], jnp.zeros(2) if wanted == NOTHING else w)


@pytest.mark.slow
def test_all_trials_of_a_search_share_a_program(monkeypatch):
    monkeypatch.setattr(program_cache, '_PROGRAMS', type(program_cache._PROGRAMS)())
    variables = initial(SHALLOW)
    plan = make_plan('subtuning:0,2,1', SHALLOW, variables, run_length=RunLength(2, 2))
    found = fit(
        RunSpec(
            SHALLOW,
            variables,
            plan,
            splits(shades, 24, 6, 3),
            optimizer=OptimizerSettings(learning_rate=1e-2),
            settings=TrainSettings(steps=2, cache='off'),
            preprocessing=EIGHT,
            batch_size=12,
            eval_batch_size=64,
        ),
        progress=False,
    )
    (choice,) = found.plan.choices
    tried = 1 + sum(len(scores) for scores in choice.evidence['rounds'])
    assert tried >= 3 and {*choice.evidence['rounds'][0]} == {'embed', 'block_00'}
    steps = [run for (run, *_) in program_cache._PROGRAMS if isinstance(run, MultiStep)]
    assert len(steps) == 2  # of the trials, and of the run itself
    assert len(program_cache._PROGRAMS) == 4  # validation: of trials, and of the run


def test_trials_have_programs_of_their_own_where_stages_run_otherwise_when_they_train():
    noisy = VIT.clone(dropout=0.1)
    for net, one in ((VIT, True), (noisy, False), (RESNET, False)):
        shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
        plan = make_plan('subtuning', net, shapes, run_length=RunLength(12, 2))
        assert runs_alike(net, plan.base) == one
        phase_state = PhaseState(
            RunSpec(
                net,
                shapes,
                plan,
                optimizer=ADAM,
            )
        )
        last = net.blocks[-1]
        leaves = frozenset(p for p in plan.base.trainable if p.split('/')[0] in (last, 'head'))
        phase = trial_plan(phase_state, leaves).at(0)
        assert phase.moving == leaves and phase.by_rates == one
        assert (set(phase.trainable) == leaves) == (not one)
        assert phase.cut == (net.stages[0] if one else last)
