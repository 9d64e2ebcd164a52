"""A language model's head that is the table of embeddings: one buffer, one decision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_networks import EVERYTHING, SMALL

from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.freezing.plan.verification import verify
from ftjax.freezing.run_length import RunLength
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.tasks import task_of
from ftjax.training.step.state import make_state, variables_of
from ftjax.training.step.train_step import TrainStep

TABLE = 'embed/word_embed/embedding'
IDS = np.random.default_rng(0).integers(0, SMALL['vocab_size'], (4, 7))


@functools.cache
def language_model(tied):
    net = build('gpt2', {**SMALL, 'max_positions': 8, 'dropout': 0.0, 'head': 'lm', 'tied': tied})
    return net, jax.jit(net.init)(jax.random.key(0), net.example_input())


def stepped(strategy, tied=True, settings=EVERYTHING):
    """Two steps of next-token prediction: the phase, and the variables before and after."""
    net, variables = language_model(tied)
    phase = make_plan(strategy, net, variables).at(0)
    optimizer = make_optimizer(phase, settings)
    state, frozen = make_state(variables, phase, optimizer)
    step = jax.jit(
        TrainStep(
            network=net, phase=phase.program, optimizer=settings, task=task_of('classification')
        )
    )
    batch = {
        'inputs': {'input_ids': IDS[:, :-1], 'attention_mask': np.ones((4, 6), np.int32)},
        'labels': IDS[:, 1:],
        'mask': np.ones((4, 6), np.float32),
    }
    rates = settings.learning_rate * jnp.asarray(phase.multipliers, jnp.float32)
    for _ in range(2):
        state, metrics = step(state, frozen, batch, rates)
    assert np.isfinite(metrics['loss'])
    return phase, variables, variables_of(state, frozen)


def moved(before, after):
    old, new = (flatten_dict(v['params'], sep='/') for v in (before, after))
    assert set(old) == set(new)
    return {path for path in old if not np.array_equal(old[path], new[path])}


def test_the_table_is_counted_once_and_is_the_first_stage_s():
    net, variables = language_model(True)
    phase = make_plan('full', net, variables).at(0)
    assert net.ties == {'head': TABLE} and not any(p.startswith('head/') for p in phase.leaves)
    apart = make_plan('full', *language_model(False)).at(0)
    assert apart.size() - phase.size() == SMALL['vocab_size'] * SMALL['width']
    assert phase.cut == 'embed'


@pytest.mark.parametrize('strategy', ['full', 'freeze_embed', 'last:1'])
def test_frozen_or_trained_it_is_so_at_both_ends(strategy):
    phase, before, after = stepped(strategy)
    assert (TABLE in moved(before, after)) == (strategy == 'full')
    assert moved(before, after) <= set(phase.trainable)
    assert verify(before, after, phase.trainable).frozen_unchanged
    if strategy != 'full':  # below the cut nothing is differentiated, the head's table neither
        assert phase.cut == {'freeze_embed': 'block_00', 'last:1': 'block_02'}[strategy]


def test_a_trained_table_has_the_gradients_of_both_ends():
    plain = OptimizerSettings(name='sgd', learning_rate=0.1, weight_decay=0.0)
    net, variables = language_model(True)
    apart, _ = language_model(False)
    table = variables['params']['embed']['word_embed']['embedding']
    inputs = {'input_ids': IDS[:, :-1]}
    labels = jax.nn.one_hot(IDS[:, 1:], SMALL['vocab_size'])

    def loss(params):
        logits = apart.apply({'params': params}, inputs)
        return -(labels * jax.nn.log_softmax(logits)).sum(-1).mean()

    both = jax.jit(jax.grad(loss))({**variables['params'], 'head': {'dense': {'kernel': table.T}}})
    gradient = both['embed']['word_embed']['embedding'] + both['head']['dense']['kernel'].T
    phase = make_plan('full', net, variables).at(0)
    optimizer = make_optimizer(phase, plain)
    state, frozen = make_state(variables, phase, optimizer)
    batch = {'inputs': inputs, 'labels': IDS[:, 1:], 'mask': np.ones((4, 6), np.float32)}
    rates = 0.1 * jnp.asarray(phase.multipliers, jnp.float32)
    state, _ = jax.jit(
        TrainStep(network=net, phase=phase.program, optimizer=plain, task=task_of('classification'))
    )(state, frozen, batch, rates)
    after = variables_of(state, frozen)['params']['embed']['word_embed']['embedding']
    np.testing.assert_allclose(after, table - 0.1 * gradient, atol=1e-6)


@pytest.mark.parametrize('beside', ['full', 'ema', 'l2_sp'])
def test_rules_open_a_pretrained_head_and_a_part_of_the_trunk_does_not(beside):
    net, variables = language_model(False)
    rules = [('(block_01|head)/.*', 'top'), ('.*', 'frozen')]
    for phase, opened in (
        ({'until': None, 'rules': rules}, True),
        ((None, 'last:1'), False),
        ((None, 'head'), True),
        ((None, 'full'), True),
    ):
        freeze = {'strategy': beside, 'phases': [phase]}
        trained = make_plan(freeze, net, variables, head_is_new=False).at(0).trainable
        assert any(path.startswith('head/') for path in trained) == opened, phase


def test_the_head_alone_cannot_be_chosen_and_gradual_opens_the_table_last():
    net, variables = language_model(True)
    with pytest.raises(UserError, match='no head leaves'):
        make_plan('head', net, variables)
    with pytest.raises(UserError, match='head'):
        make_plan({'rules': [('head/.*', 'head'), ('.*', 'frozen')]}, net, variables)
    plan = make_plan('gradual', net, variables, run_length=RunLength(10, 2))
    assert [TABLE in phase.trainable for phase in plan.phases] == [False] * 4 + [True]
