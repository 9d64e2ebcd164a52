"""Every optimizer by name gives the weights that plain optax gives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from ftjax.errors import UserError
from ftjax.freezing.plan.phase import PhaseProgram
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer, state_bytes
from ftjax.registry import parts

RATE, DECAY = 0.1, 0.01
PLAIN = {
    'adamw': lambda: optax.adamw(RATE, weight_decay=DECAY),
    'adam': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.adam(RATE)),
    'sgd': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE, 0.9)),
    'lion': lambda: optax.lion(RATE, 0.9, 0.999, weight_decay=DECAY),
    'nadam': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.nadam(RATE)),
    'nadamw': lambda: optax.nadamw(RATE, weight_decay=DECAY),
    'adamax': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.adamax(RATE)),
    'adamaxw': lambda: optax.adamaxw(RATE, weight_decay=DECAY),
    'amsgrad': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.amsgrad(RATE)),
    'radam': lambda: optax.radam(RATE),
    'adabelief': lambda: optax.chain(
        optax.scale_by_belief(eps_root=1e-16),
        optax.add_decayed_weights(DECAY),
        optax.scale_by_learning_rate(RATE),
    ),
    'yogi': lambda: optax.yogi(RATE),
    'adan': lambda: optax.adan(RATE, weight_decay=DECAY),
    'ademamix': lambda: contrib.ademamix(RATE, weight_decay=DECAY),
    'adopt': lambda: contrib.adopt(RATE),
    'novograd': lambda: optax.novograd(RATE),
    'lamb': lambda: optax.lamb(RATE, weight_decay=DECAY),
    'lars': lambda: optax.lars(RATE, weight_decay=DECAY),
    'rmsprop': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.rmsprop(RATE)),
    'rmsprop:momentum=0.5,centered=true': lambda: optax.rmsprop(RATE, centered=True, momentum=0.5),
    'adagrad': lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.adagrad(RATE)),
    'adadelta': lambda: optax.adadelta(RATE, weight_decay=DECAY),
    'sm3': lambda: optax.sm3(RATE),
    'adafactor:smallest=2': lambda: optax.adafactor(
        RATE, min_dim_size_to_factor=2, weight_decay_rate=None
    ),
    'muon:adamw_rate=0.2': lambda: contrib.muon(
        RATE,
        weight_decay=DECAY,
        adam_weight_decay=DECAY,
        adam_learning_rate=0.2 * RATE,
    ),
    'galore:2': lambda: contrib.galore(RATE, rank=2, weight_decay=DECAY),
    'prodigy': lambda: contrib.prodigy(RATE),
}
NO_DECAY = ('radam', 'yogi', 'adopt', 'novograd', 'rmsprop:', 'sm3', 'adafactor', 'prodigy')
PARAMS = {
    'a/kernel': jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32),
    'b/bias': jnp.asarray([0.5, -1.0, 2.0], jnp.float32),
}


def toy_phase():
    groups = tuple((path, 'all', True) for path in PARAMS)
    return PhaseProgram(groups=groups, stage_modes=(), cut='a')


def three_steps(tx, **more):
    def loss(params):
        out = jnp.tanh(jnp.linspace(-1, 1, 8).reshape(2, 4) @ params['a/kernel'])
        return ((out + params['b/bias'] - 0.3) ** 2).sum()

    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        updates, state = tx.update(jax.grad(loss)(params), state, params, **more)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize('name', PLAIN)
def test_three_steps_are_those_of_optax(name):
    decay = 0.0 if name.startswith(NO_DECAY) else DECAY
    settings = OptimizerSettings(name=name, weight_decay=decay)
    rates = jnp.full(len(PARAMS), RATE, jnp.float32)
    wanted = three_steps(PLAIN[name]())
    for per_leaf in (False, True):
        made = make_optimizer(toy_phase(), settings, per_leaf=per_leaf)
        got = three_steps(made, rates=rates)
        for path, leaf in wanted.items():
            assert not np.array_equal(leaf, PARAMS[path])
            np.testing.assert_allclose(got[path], leaf, rtol=2e-5, atol=1e-7, err_msg=path)


def test_every_optimizer_is_compared():
    assert {name.split(':')[0] for name in PLAIN} == set(parts('optimizer'))


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('lionn', "did you mean 'lion'"),
        ('muon:rate=1', 'unknown argument of muon'),
        ('muon:adamw_rate=0', 'adamw_rate is 0; expected a number, above 0'),
        ('schedule_free_adamw', 'evaluates other weights'),
        ('sophia', 'needs the loss as a function'),
        ('adafactor:', r"'adafactor:': an argument is empty; adafactor takes memory, smallest, "),
        ('adafactor:0.8,,1', 'an argument is empty'),
        ('adamw:0.1', "'adamw:0.1': adamw takes no argument; one is given"),
        ('yogi:1e-3,2', 'yogi takes epsilon; 2 are given'),
    ],
)
def test_what_is_no_optimizer_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        OptimizerSettings(name=name)


@pytest.mark.parametrize('name', ['sgd', 'lars'])
def test_without_momentum_there_is_no_state(name):
    states = []
    for momentum in (0.0, 0.9):
        made = make_optimizer(toy_phase(), OptimizerSettings(name=name, momentum=momentum))
        states.append(state_bytes(jax.eval_shape(made.init, PARAMS)))
    assert states == [0, 4 * sum(leaf.size for leaf in PARAMS.values())]


def test_sgd_without_momentum_is_that_of_optax():
    rates = jnp.full(len(PARAMS), RATE, jnp.float32)
    got = three_steps(
        make_optimizer(toy_phase(), OptimizerSettings(name='sgd', momentum=0.0)), rates=rates
    )
    jax.tree.map(np.testing.assert_array_equal, got, three_steps(optax.sgd(RATE)))


def test_prodigy_takes_no_decay():
    with pytest.raises(UserError, match='expected 0 with prodigy'):
        make_optimizer(toy_phase(), OptimizerSettings(name='prodigy', weight_decay=0.1))
