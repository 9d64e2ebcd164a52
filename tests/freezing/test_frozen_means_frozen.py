"""Every static strategy: what it should moves, and nothing else, with everything switched on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.freezing.optimizer import (
    OptimizerSettings,
    make_full_tree_optimizer,
    make_optimizer,
)
from ftjax.freezing.verification import verify
from ftjax.models.registry import build
from ftjax.training.state import make_state, variables_of
from ftjax.training.step import make_train_step

NETWORKS = {
    'vit': ('vit', {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 3, 'heads': 2}),
    'batch_norm': ('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8}),
    'group_norm': ('resnet_gn_cifar', {'depth': 8, 'width': 8, 'image_size': 8}),
}
STRATEGIES = (
    *('full', 'head', 'last:1', 'last:2', 'first:1', 'freeze_bottom:1', 'block:1', 'block:2'),
    *('bitfit', 'norm', 'attention', 'mlp', 'bitfit+last:1'),
)
EVERYTHING = OptimizerSettings(
    learning_rate=0.1, weight_decay=0.3, clip_norm=0.5, accumulate=2, ema=0.9
)


@functools.cache
def network(name):
    family, options = NETWORKS[name]
    net = build(family, {**options, 'num_classes': 3})
    variables = jax.jit(net.init)(jax.random.key(0), net.example_input())
    # Zeros and ones would hide a leaf that decays or moves: give every leaf numbers of its own.
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.1 * jax.random.uniform(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return net, jax.tree.unflatten(tree, noisy)


def batch_of(net, size=4):
    inputs = jax.random.normal(jax.random.key(2), net.example_input(size).shape)
    return {
        'inputs': inputs,
        'labels': jnp.arange(size, dtype=jnp.int32) % 3,
        'mask': jnp.ones(size),
    }


def take_steps(net, variables, phase, settings, count=2):
    optimizer = make_optimizer(phase, settings)
    state, frozen = make_state(variables, phase, optimizer, settings.ema)
    step = jax.jit(make_train_step(net, phase, settings))
    rates = settings.learning_rate * jnp.asarray(phase.multipliers, jnp.float32)
    for _ in range(count):
        state, metrics = step(state, frozen, batch_of(net), rates)
    return variables_of(state, frozen), metrics


def expected(net, variables, strategy):
    """Which leaves the catalogue's definition trains, written down without the code's help."""
    paths = list(flatten_dict(variables['params'], sep='/'))
    blocks, stages = net.blocks, net.stages

    def of(*names):
        return {p for p in paths if p.split('/')[0] in names}

    head = of('head')
    name, _, k = strategy.partition(':')
    k = int(k or 0)
    after = stages[stages.index(blocks[-1]) + 1 :]
    before = stages[: stages.index(blocks[0])]
    match name:
        case 'full':
            return set(paths)
        case 'head':
            return head
        case 'last':
            return of(*blocks[-k:], *after)
        case 'first':
            return of(*before, *blocks[:k]) | head
        case 'freeze_bottom':
            return of(*blocks[k:], *after)
        case 'block':
            return of(*(before if k == 1 else ()), blocks[k - 1]) | head
        case 'bitfit':
            return {p for p in paths if p.endswith('/bias')} | head
        case 'norm':
            parts = {p for p in paths if any('norm' in x for x in p.split('/')[-2:-1])}
            return parts | head
        case 'attention':
            return {p for p in paths if '/attn/' in p or 'pos_embed' in p} | head
        case _:
            return {p for p in paths if '/mlp/' in p} | head


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


@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_the_full_tree_multi_transform_equals_the_split_path(optimizer):
    net, variables = network('vit')
    phase = make_plan('last:1', net, variables).at(0)
    settings = OptimizerSettings(name=optimizer, weight_decay=0.1, clip_norm=0.1)
    batch = batch_of(net)
    tx = make_full_tree_optimizer(phase, settings, settings.learning_rate)
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
