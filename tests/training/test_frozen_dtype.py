"""Frozen leaves in bfloat16: half the memory of a step's arguments, and no value is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_runs import noise, splits

from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError
from ftjax.evaluation.predict import Forward
from ftjax.freezing.plan.plan import FreezeSettings, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.leaves import unflatten
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.training.checkpoints.training_state import to_saved
from ftjax.training.cost.cost import compile_step
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

SIZES = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 3}
NET = build('vit', SIZES)
ADAM = OptimizerSettings(learning_rate=1e-2)
CLOSE = 2e-2
"""A weight is rounded by up to 2^-9 of itself: what the losses of 12 steps may differ by."""


def rng():
    return np.random.default_rng(0)


DATA = splits(noise, 24, 9, 9)


@pytest.fixture(scope='module')
def variables():
    shapes, draw = jax.eval_shape(NET.init, jax.random.key(0), NET.example_input()), rng()
    return jax.tree.map(lambda x: draw.normal(0, 0.3, x.shape).astype(x.dtype), shapes)


def settings_of(strategy, dtype='bfloat16'):
    return FreezeSettings(strategy=strategy, frozen_dtype=dtype)


def run(variables, strategy, dtype, folder=None, net=NET, **train):
    return fit(
        RunSpec(
            net,
            variables,
            make_plan(settings_of(strategy, dtype), net, variables, run_length=RunLength(12, 2)),
            DATA,
            optimizer=ADAM,
            settings=TrainSettings(**{'steps': 12, 'keep': 'last', 'cache': 'off', **train}),
            batch_size=12,
            eval_batch_size=9,
        ),
        workdir=folder,
        progress=False,
    )


def losses(result):
    return np.array([row['train_loss'] for row in result.history])


def leaves_of(variables):
    return {p: np.asarray(x) for p, x in flatten_dict(dict(variables['params']), sep='/').items()}


def test_arguments_of_a_step_halve_and_what_trains_stays_float32(variables):
    sizes = {}
    for dtype in ('float32', 'bfloat16'):
        plan = make_plan(settings_of('head', dtype), NET, variables)
        program = compile_step(
            RunSpec(NET, variables, plan, optimizer=ADAM, batch_size=1), plan.at(0)
        )
        sizes[dtype] = program.memory_analysis().argument_size_in_bytes
    frozen = sum(x.size for p, x in leaves_of(variables).items() if p.split('/')[0] != 'head')
    assert sizes['float32'] - sizes['bfloat16'] == 2 * frozen
    assert 2 * frozen > 0.4 * sizes['float32']  # a head, an image and moments are the rest
    plan = make_plan(settings_of('head'), NET, variables)
    phase_state = PhaseState(
        RunSpec(
            NET,
            variables,
            plan,
            optimizer=ADAM,
        )
    )
    phase_state.enter(0)
    assert {str(x.dtype) for x in phase_state.frozen.params.values()} == {'bfloat16'}
    assert {str(x.dtype) for x in phase_state.state.trainable.values()} == {'float32'}


@pytest.mark.slow
def test_frozen_leaves_come_back_as_they_were_and_losses_are_close(variables):
    found, exact = run(variables, 'last:1', 'bfloat16'), run(variables, 'last:1', 'float32')
    assert found.verification.frozen_unchanged and not found.verification.still_trainable
    before, after = leaves_of(variables), leaves_of(found.variables)
    for path, leaf in before.items():
        assert after[path].dtype == np.float32
        same = leaf.tobytes() == after[path].tobytes()
        assert same == (path not in found.plan.at(0).trainable), path
    one, two = losses(found), losses(exact)
    assert (one != two).all() and np.abs(one - two).max() < CLOSE, (one, two)


def test_a_copy_that_differs_from_its_value_is_found(variables):
    plan = make_plan(settings_of('head'), NET, variables)
    phase_state = PhaseState(
        RunSpec(
            NET,
            variables,
            plan,
            optimizer=ADAM,
        )
    )
    phase_state.enter(0)
    assert phase_state.changed_copies() == ()
    path = 'block_00/mlp/fc1/kernel'
    wrong = {**phase_state.frozen.params, path: phase_state.frozen.params[path].at[0, 0].add(1)}
    phase_state.frozen = phase_state.frozen.replace(params=wrong)
    assert phase_state.changed_copies() == (f'params/{path} (its bfloat16 copy)',)


def test_what_opens_starts_from_the_loaded_value_and_what_closes_keeps_its_own(variables):
    settings = FreezeSettings(
        phases=(('3 steps', 'head'), ('6 steps', 'block:2'), (None, 'block:1')),
        frozen_dtype='bfloat16',
    )
    plan = make_plan(settings, NET, variables, run_length=RunLength(12, 2))
    phase_state = PhaseState(
        RunSpec(
            NET,
            variables,
            plan,
            optimizer=ADAM,
        )
    )
    loaded, opened = leaves_of(variables), 'block_01/mlp/fc1/kernel'
    phase_state.enter(0)
    assert phase_state.frozen.params[opened].dtype == jnp.bfloat16
    phase_state.enter(3)
    np.testing.assert_array_equal(phase_state.state.trainable[opened], loaded[opened])
    moved = phase_state.state.trainable[opened] + 1e-5  # less than bfloat16 can tell apart
    phase_state.state = phase_state.state.replace(
        trainable={**phase_state.state.trainable, opened: moved}
    )
    phase_state.enter(6)
    assert phase_state.frozen.params[opened].dtype == jnp.bfloat16
    np.testing.assert_array_equal(leaves_of(phase_state.current())[opened], moved)
    np.testing.assert_array_equal(to_saved(phase_state)['closed']['params'][opened], moved)


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['gradual', 'chain_thaw', 'autofreeze:3', 'rifle:3,1+ema:0.5'])
def test_stopped_at_every_second_validation_and_resumed(variables, strategy, tmp_path, monkeypatch):
    whole = run(variables, strategy, 'bfloat16', tmp_path / 'whole')
    update, count = BestSoFar.update, [0]

    def once(self, *arguments):
        count[0] += 1
        if count[0] % 2 == 0:
            raise KeyboardInterrupt
        return update(self, *arguments)

    monkeypatch.setattr(BestSoFar, 'update', once)
    while True:
        try:
            parts = run(variables, strategy, 'bfloat16', tmp_path / 'parts')
            break
        except KeyboardInterrupt:
            continue
    assert count[0] > 6 and whole.history == parts.history
    one, two = leaves_of(whole.variables), leaves_of(parts.variables)
    assert all(one[path].tobytes() == two[path].tobytes() for path in one)
    assert parts.verification.frozen_unchanged, parts.verification.moved_frozen


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['lora:2', 'dora:2', 'bitfit', 'ssf', 'adapter:2', 'last:1'])
def test_adapters_train_on_rounded_weights(variables, strategy):
    net, more = with_adapters(settings_of(strategy), NET, variables, 0)
    found, exact = run(more, strategy, 'bfloat16', net=net), run(more, strategy, 'float32', net=net)
    assert found.verification.frozen_unchanged
    assert {str(x.dtype) for x in jax.tree.leaves(found.variables)} == {'float32'}
    assert np.abs(losses(found) - losses(exact)).max() < CLOSE


@pytest.mark.slow
def test_a_cached_run_is_the_same_run(variables):
    plain = run(variables, 'last:1', 'bfloat16')
    cached = run(variables, 'last:1', 'bfloat16', cache='on')
    assert cached.cache[0].startswith('from step 0: features stored')
    for one, two in zip(plain.history, cached.history, strict=True):
        assert one == pytest.approx(two, rel=1e-5)


def test_another_dtype_is_refused():
    with pytest.raises(UserError, match=r"freeze\.frozen_dtype 'bfloat'.*bfloat16"):
        FreezeSettings(frozen_dtype='bfloat')


def test_no_float32_copy_of_all_frozen_weights_is_made_at_once():
    """Neither in a training step, forward and backward, nor in evaluation."""
    bert = build('bert', {'vocab_size': 64, 'width': 64, 'depth': 4, 'heads': 2, 'num_classes': 3})
    shapes = unflatten(leaf_shapes(bert))
    net, variables = with_adapters(settings_of('lora:2'), bert, shapes)
    plan = make_plan(settings_of('lora:2'), net, variables)
    step = compile_step(RunSpec(net, variables, plan, batch_size=1), plan.at(0))
    half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), shapes)
    forward = jax.jit(Forward(bert, None, None, Sharding())).lower(half, bert.example_input())
    blocks = sum(4 * leaf.size for path, leaf in plan.at(0).leaves.items() if 'block' in path)
    for program in (step, forward.compile()):
        assert program.memory_analysis().temp_size_in_bytes < 0.4 * blocks


def test_rounded_weights_give_the_numbers_of_their_float32_values(variables):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), half)
    run, images = jax.jit(Forward(NET, None, None, Sharding())), DATA.val.inputs
    np.testing.assert_allclose(run(half, images), run(wide, images), rtol=1e-5, atol=1e-6)
