"""Every static strategy: what it should moves, and nothing else, with everything switched on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from tiny_networks import EVERYTHING, NETWORKS, batch_of, expected, network, take_steps

from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.freezing.plan.verification import verify
from ftjax.freezing.rules import FROZEN
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.tasks import task_of
from ftjax.training.step.state import make_state
from ftjax.training.step.train_step import TrainStep

STRATEGIES = (
    *('full', 'head', 'last:1', 'last:2', 'first:1', 'freeze_bottom:1', 'block:1', 'block:2'),
    *('bitfit', 'norm', 'attention', 'mlp', 'bitfit+last:1'),
)


@pytest.mark.parametrize('strategy', STRATEGIES)
@pytest.mark.parametrize('name', NETWORKS)
def test_exactly_the_intended_leaves_move(name, strategy):
    net, variables = network(name)
    if strategy in ('attention', 'mlp') and name != 'vit':
        with pytest.raises(UserError, match='has no'):
            make_plan(strategy, net, variables)
        return
    phase = make_plan(strategy, net, variables).at(0)
    wanted = set().union(*(expected(net, variables, term) for term in strategy.split('+')))
    assert set(phase.trainable) == wanted
    after, metrics = take_steps(net, variables, phase, EVERYTHING)
    assert np.isfinite(metrics['loss'])
    result = verify(variables, after, wanted, phase.moving_stats)
    assert result.frozen_unchanged, result.moved_frozen
    # A leaf without gradient (the key's bias: softmax does not see it) moves by decay or noise
    # only; all others must move.
    assert all('key/bias' in path for path in result.still_trainable), result.still_trainable


def test_statistics_move_only_in_stages_that_train():
    net, variables = network('batch_norm')
    for strategy, moving in (('last:1', {'stage3_block0'}), ('head', set()), ('block:1', set())):
        phase = make_plan(strategy, net, variables).at(0)
        after, _ = take_steps(net, variables, phase, OptimizerSettings())
        old, new = (flatten_dict(v['batch_stats'], sep='/') for v in (variables, after))
        moved = {p.split('/')[0] for p in old if not np.array_equal(old[p], new[p])}
        assert moved == moving


def test_norm_policy_train_moves_all_statistics_and_frozen_none():
    net, variables = network('batch_norm')
    everywhere = make_plan({'strategy': 'head', 'norm': 'train'}, net, variables).at(0)
    assert set(everywhere.moving_stats) == set(variables['batch_stats'])
    after, _ = take_steps(net, variables, everywhere, OptimizerSettings())
    assert verify(variables, after, everywhere.trainable, everywhere.moving_stats).frozen_unchanged
    nowhere = make_plan({'strategy': 'full', 'norm': 'frozen'}, net, variables).at(0)
    assert not nowhere.moving_stats


@pytest.mark.parametrize('optimizer', ['adamw', 'sgd', 'adam', 'lion'])
def test_huge_weight_decay_does_not_leak(optimizer):
    net, variables = network('vit')
    phase = make_plan('head', net, variables).at(0)
    settings = OptimizerSettings(name=optimizer, weight_decay=1e6)
    after, _ = take_steps(net, variables, phase, settings)
    assert verify(variables, after, phase.trainable).frozen_unchanged


def test_the_clip_does_not_count_frozen_gradients():
    net, variables = network('vit')
    phase = make_plan('head', net, variables).at(0)
    loud = jax.tree.map(lambda x: x, variables)
    settings = OptimizerSettings(name='sgd', momentum=0.0, learning_rate=1.0, clip_norm=1e-3)
    after, metrics = take_steps(net, loud, phase, settings, count=1)
    old, new = (flatten_dict(v['params']['head'], sep='/') for v in (variables, after))
    moved = np.sqrt(sum(float(((old[p] - new[p]) ** 2).sum()) for p in old))
    # The whole clip norm is spent on the head: nothing of it on gradients of the trunk.
    assert float(metrics['grad_norm']) > 1e-3
    assert moved == pytest.approx(1e-3, rel=1e-3)


def full_tree_optimizer(phase, settings):
    """The usual way: frozen leaves have a gradient, and `set_to_zero` in multi_transform."""
    inner = make_optimizer(phase, settings)
    rates = settings.learning_rate * jnp.asarray(phase.multipliers, jnp.float32)

    def flat(tree):
        leaves = flatten_dict(tree, sep='/')
        return {path: leaves[path] for path in phase.trainable}

    def update(updates, state, params):
        moved, state = inner.update(flat(updates), state, flat(params), rates=rates)
        return unflatten_dict({**flatten_dict(updates, sep='/'), **moved}, sep='/'), state

    labels = {p: FROZEN if leaf.group == FROZEN else 'train' for p, leaf in phase.leaves.items()}
    zero = optax.multi_transform(
        {FROZEN: optax.set_to_zero(), 'train': optax.identity()}, unflatten_dict(labels, sep='/')
    )
    whole = optax.GradientTransformation(lambda params: inner.init(flat(params)), update)
    return optax.chain(whole, zero)


@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_the_full_tree_multi_transform_equals_the_split_path(optimizer):
    net, variables = network('vit')
    phase = make_plan('last:1', net, variables).at(0)
    settings = OptimizerSettings(name=optimizer, weight_decay=0.1, clip_norm=0.1)
    batch = batch_of(net)
    tx = full_tree_optimizer(phase, settings)
    params = variables['params']
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        def loss(params):
            logits = net.apply({'params': params}, batch['inputs'])
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch['labels']).mean()

        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for count in (1, 2, 3):
        params, state = step(params, state)
        split, _ = take_steps(net, variables, phase, settings, count)
        ours, theirs = (flatten_dict(tree, sep='/') for tree in (split['params'], params))
        for path in ours:
            # The gradient of a key's bias is 0 but for rounding (softmax does not see a shift),
            # and Adam makes steps of full size of that rounding: nothing to compare there.
            if optimizer == 'adamw' and path.endswith('key/bias'):
                continue
            np.testing.assert_allclose(ours[path], theirs[path], rtol=1e-4, atol=1e-6)
    assert verify(
        {'params': variables['params']}, {'params': params}, phase.trainable
    ).frozen_unchanged


def test_entries_that_stay_count_for_no_clip_and_no_norm(monkeypatch):
    net, variables = network('vit')
    phase = make_plan('head', net, variables).at(0)
    settings = OptimizerSettings(name='sgd', momentum=0.0, weight_decay=0.0, clip_norm=1e-3)
    step = TrainStep(
        network=net, phase=phase.program, optimizer=settings, task=task_of('classification')
    )
    state, frozen = make_state(variables, phase, step.tx)
    # As if of a batch: all entries have a gradient, and one entry of a leaf may move.
    large = jax.tree.map(lambda x: jnp.full(x.shape, 3.0), state.trainable)
    found = ((jnp.zeros(()), state.stats), large)
    monkeypatch.setattr(TrainStep, 'accumulated', lambda *_: found)
    masks = {p: (jnp.arange(x.size) == 0).reshape(x.shape) for p, x in state.trainable.items()}
    after, metrics = step(state, frozen.replace(entries=masks), {}, jnp.ones(len(masks)))
    moved = [after.trainable[path] - leaf for path, leaf in state.trainable.items()]
    assert float(optax.tree.norm(moved)) == pytest.approx(1e-3, rel=1e-3)
    assert float(metrics['grad_norm']) == pytest.approx(3.0 * len(masks) ** 0.5)
