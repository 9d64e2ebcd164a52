"""`from_linen`: a plain linen module is a network of stages, or of one."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.models import from_linen
from ftjax.models.adapters.adapted import adapted, merge
from ftjax.models.adapters.lora import LoRA
from ftjax.models.stages import EVAL, TRAIN, Mode

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, name='norm')(x)
        return nn.Dropout(0.5)(nn.relu(nn.Dense(5, name='dense')(x)), deterministic=not train)


class Plain(nn.Module):
    """Written for a training loop of its own."""

    def setup(self):
        self.layers = [Block() for _ in range(2)]
        self.top = nn.Dense(3)

    def __call__(self, x, train=False):
        for layer in self.layers:
            x = layer(x, train)
        return self.top(x)


STAGES = {'block_00': 'layers.0', 'block_01': 'layers.1', 'head': 'top'}


@pytest.fixture(scope='module')
def made():
    module = Plain()
    variables = module.init(jax.random.key(0), X)
    return module, variables, from_linen(module, variables, STAGES, example=X)


@pytest.mark.parametrize('stages', [STAGES, None], ids=['parts', 'whole'])
def test_outputs_and_statistics_are_those_of_the_module(made, stages):
    module, variables, _ = made
    built = from_linen(module, variables, stages, example=X)
    network = built.network
    for mode, train in ((EVAL, False), (Mode(batch_stats=True, deterministic=False), True)):
        options = {'rngs': {'dropout': jax.random.key(1)}, 'mutable': ['batch_stats']}
        ours, moved = network.apply(built.variables, X, modes=mode, **options)
        theirs, known = module.apply(variables, X, train, **options)
        one, two = jax.tree.leaves(moved), jax.tree.leaves(known)
        assert len(one) == len(two)
        if not train:  # masks of dropout are drawn from keys by place
            np.testing.assert_array_equal(ours, theirs)
            for a, b in zip(one, two, strict=True):
                np.testing.assert_array_equal(a, b)
    quiet = Mode(batch_stats=True)
    if stages is None:
        assert network.stages == ('block_00',)
        assert make_plan('bitfit', network, built.variables).at(0).cut == 'block_00'
        return
    state = network.apply(built.variables, X, stop='block_01')
    whole = network.apply(built.variables, X)
    np.testing.assert_allclose(network.apply(built.variables, state, start='block_01'), whole, 1e-6)
    _, moved = network.apply(built.variables, X, modes={'block_01': quiet}, **options)
    old = built.variables['batch_stats']
    same = jax.tree.map(np.array_equal, old, dict(moved['batch_stats']))
    assert all(jax.tree.leaves(same['block_00'])) and not any(jax.tree.leaves(same['block_01']))


def test_adapters_and_strategies_find_its_layers(made):
    _, _, built = made
    network, variables = built.network, built.variables
    assert make_plan('last:1', network, variables).at(0).cut == 'block_01'
    assert len(make_plan('norm', network, variables).at(0).trainable) == 6
    ours = adapted(network, [LoRA(2, targets='dense')])
    shapes = flatten_dict(jax.eval_shape(ours.init, jax.random.key(0), X)['params'], sep='/')
    own = flatten_dict(variables['params'], sep='/')
    draw = np.random.default_rng(0)
    added = {p: draw.normal(size=x.shape) for p, x in shapes.items() if p not in own}
    assert len(added) == 4 and 'block_00/layers_0/dense/lora_a' in added
    whole = {**variables, 'params': unflatten_dict({**own, **added}, sep='/')}
    out, (plain, merged) = ours.apply(whole, X), merge(ours, whole)
    np.testing.assert_allclose(plain.apply(merged, X), out, rtol=1e-4, atol=1e-5)
    assert not np.allclose(out, network.apply(variables, X), atol=1e-3)


class Compact(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, name='top')(nn.relu(nn.Dense(4, name='body')(x)))


def test_what_cannot_be_run_in_parts_says_so(made):
    module, variables, _ = made
    compact = Compact()
    theirs = compact.init(jax.random.key(0), X)
    with pytest.raises(UserError, match=r"stage 'block_00' does not run.*give stages=None"):
        from_linen(compact, theirs, {'block_00': 'body', 'head': 'top'}, example=X)
    whole = from_linen(compact, theirs, None, example=X)
    np.testing.assert_array_equal(
        whole.network.apply(whole.variables, X, modes=TRAIN), compact.apply(theirs, X)
    )
    with pytest.raises(UserError, match=r'layers_1/\S+ is used by no stage'):
        from_linen(module, variables, {'block_00': 'layers.0', 'head': 'top'}, example=X)
    twice = {**STAGES, 'block_01': lambda m, x: m.layers[0](x, False)}
    with pytest.raises(UserError, match="belongs to 'block_00' and to 'block_01'"):
        from_linen(module, variables, twice, example=X)
    with pytest.raises(UserError, match='says itself what it computes in'):
        made[2].network.clone(dtype='bfloat16').apply(made[2].variables, jnp.zeros((1, 5)))


@pytest.mark.parametrize('given', [None, {}, 'params'])
def test_variables_without_params_are_said_before_anything_runs(made, given):
    module, variables, _ = made
    given = variables['params'] if given == 'params' else given
    with pytest.raises(UserError, match=r"from_linen: variables are .*expected \{'params'"):
        from_linen(module, given, STAGES, example=X)
