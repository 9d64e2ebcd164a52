"""Regularisers and averages of weights: their endpoints and their closed forms."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_networks import network

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import parse
from ftjax.freezing.strategies.regularisers import ewc, l2_sp, mixout
from ftjax.freezing.strategies.weight_averages import (
    ema,
    interpolate,
    soup_greedy,
    soup_uniform,
    wise_ft,
)
from ftjax.runs.prepare import check_one_average

DRAW = np.random.default_rng(0)
START = {'a/kernel': DRAW.normal(size=(4, 3)), 'a/bias': DRAW.normal(size=3)}
WEIGHTS = {path: leaf + DRAW.normal(size=leaf.shape) for path, leaf in START.items()}
HEAD = {'head/kernel': DRAW.normal(size=(3, 2))}
NONE = frozenset()


def test_l2_sp_equals_its_formula_and_has_no_gradient_at_the_start():
    head = frozenset(HEAD)
    value = l2_sp({**WEIGHTS, **HEAD}, {**START, **HEAD}, head, 0.1, 0.01)
    away = sum(((WEIGHTS[p] - START[p]) ** 2).sum() for p in START)
    assert float(value) == pytest.approx(0.05 * away + 0.005 * (HEAD['head/kernel'] ** 2).sum())
    gradient = jax.grad(lambda w: l2_sp(w, START, NONE, 0.1, 0.01))(jax.tree.map(jnp.array, START))
    assert all(not leaf.any() for leaf in gradient.values())


def test_ewc_equals_its_formula_and_has_no_gradient_at_the_start():
    fisher = {path: DRAW.random(leaf.shape) for path, leaf in START.items()}
    value = ewc({**WEIGHTS, **HEAD}, {**START, **HEAD}, frozenset(HEAD), fisher, 3.0, 1)
    away = sum((fisher[p] * (WEIGHTS[p] - START[p]) ** 2).sum() for p in START)
    assert float(value) == pytest.approx(1.5 * away)
    gradient = jax.grad(lambda w: ewc(w, START, NONE, fisher, 3.0, 1))(
        jax.tree.map(jnp.array, START)
    )
    assert all(not leaf.any() for leaf in gradient.values())
    # A head that previous tasks had too is not that of this task.
    assert not ewc(HEAD, {'head/kernel': 0.0}, frozenset(HEAD), {'head/kernel': 1.0}, 3.0, 1)


def test_mixout_at_its_ends_and_in_expectation():
    key = jax.random.key(0)
    assert mixout(WEIGHTS, START, key, NONE, 0.0) == WEIGHTS
    back = mixout(WEIGHTS, START, key, NONE, 1.0)
    assert back['a/kernel'] is START['a/kernel'] and back['a/bias'] is WEIGHTS['a/bias']
    keys = jax.random.split(key, 4000)
    many = jax.vmap(lambda k: mixout(WEIGHTS, START, k, NONE, 0.7)['a/kernel'])(keys)
    assert np.allclose(many.mean(0), WEIGHTS['a/kernel'], atol=0.25)
    # Every entry is either w0's or w's, moved so that the expectation is w.
    low = START['a/kernel']
    high = low + (WEIGHTS['a/kernel'] - low) / 0.3
    near = np.minimum(np.abs(many - low), np.abs(many - high))
    assert near.max() < 1e-4
    kept = mixout(HEAD, HEAD, key, frozenset(HEAD), 0.7)
    assert kept == HEAD
    with pytest.raises(UserError, match='0 to 1'):
        mixout(WEIGHTS, START, key, NONE, 1.5)


@pytest.mark.parametrize('strategy', ['bitfit+mixout', 'head+mixout', 'head+ewc'])
def test_a_regulariser_that_acts_on_nothing_is_refused(strategy):
    net, variables = network('vit')
    with pytest.raises(UserError, match='does nothing, because no'):
        make_plan(strategy, net, variables)
    make_plan(f'{strategy}+last:1', net, variables)
    make_plan('head+l2_sp', net, variables)


def test_two_averages_are_refused():
    with pytest.raises(UserError, match='keep one'):
        parse('full+ema:0.9+ema:0.99')
    plan = types.SimpleNamespace(term=lambda kind: parse('ema:0.9')[0])
    with pytest.raises(UserError, match=r'optimizer.ema is 0.999, and ema:0.9 .* keep one'):
        check_one_average(read_config({'optimizer': {'ema': 0.999}}), plan)
    check_one_average(read_config({}), plan)


def test_wise_ft_is_exact_at_both_ends_and_keeps_the_best():
    assert interpolate(START, WEIGHTS, 0.0) == START and interpolate(START, WEIGHTS, 1.0) == WEIGHTS

    def score(weights):  # best at a = .3
        share = (weights['a/bias'] - START['a/bias']) / (WEIGHTS['a/bias'] - START['a/bias'])
        return -abs(float(share.mean()) - 0.3)

    best, evidence = wise_ft([WEIGHTS], START, score, 11)
    assert evidence['alpha'] == pytest.approx(0.3) and len(evidence['curve']) == 11
    assert [row['alpha'] for row in evidence['curve']] == pytest.approx(np.linspace(0, 1, 11))
    assert np.allclose(best['a/kernel'], 0.7 * START['a/kernel'] + 0.3 * WEIGHTS['a/kernel'])


def test_the_ends_of_an_average_are_the_given_weights_themselves():
    for end, sign in ((START, -1), (WEIGHTS, 1)):
        best, _ = wise_ft([WEIGHTS], START, lambda w, sign=sign: sign * float(distance(w)), 5)
        assert best is end
    assert soup_uniform([WEIGHTS], START, len, 1)[0] is WEIGHTS
    assert soup_greedy([WEIGHTS], START, len, 1)[0] is WEIGHTS


def distance(weights):
    """How far some weights are from the start."""
    return sum(np.abs(weights[path] - START[path]).sum() for path in START)


def test_a_leaf_that_never_moved_stays_bitwise_in_every_mixture():
    ends = [{**WEIGHTS, 'frozen': START['a/bias'] / 3}] * 3
    start = {**START, 'frozen': START['a/bias'] / 3}
    for mixed in (interpolate(start, ends[0], 0.37), soup_uniform(ends, start, len, 3)[0]):
        assert mixed['frozen'].tobytes() == start['frozen'].tobytes()


def test_soups():
    ends = [{'w': np.array([x])} for x in (0.0, 1.0, 5.0)]

    def score(weights):
        return -abs(float(weights['w'][0]) - 0.4)

    uniform, told = soup_uniform(ends, {}, score, 3)
    assert uniform['w'] == pytest.approx(2.0) and told['score'] == pytest.approx(-1.6)
    greedy, told = soup_greedy(ends, {}, score, 3)
    assert greedy['w'] == pytest.approx(0.5) and told['taken'] == [0, 1]
    assert told['score'] > max(told['members'])
    for seed in range(20):  # never below its best member on its own split
        draw = np.random.default_rng(seed)
        ends = [{'w': draw.normal(size=2)} for _ in range(4)]
        aim = draw.normal(size=2)
        _, told = soup_greedy(ends, {}, lambda w, aim=aim: -((w['w'] - aim) ** 2).sum(), 4)
        assert told['score'] >= max(told['members'])


def test_a_decay_that_is_none_is_refused():
    with pytest.raises(UserError, match='between 0 and 1'):
        ema(1.0)
