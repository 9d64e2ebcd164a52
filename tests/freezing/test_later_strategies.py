"""Ranges of blocks, projections, LoRA+, OFT, Adapter+ and BAdam, beside their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_networks import expected, network

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import parse_term
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.settings import as_settings
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.freezing.strategies.masks import block_range
from ftjax.models.adapters.adapter_plus import kept_at_random, truncated_normal
from ftjax.models.adapters.oft import inverse, rotations
from ftjax.models.stages import TRAIN


@pytest.mark.parametrize(
    ('text', 'depth', 'found'),
    [
        ('0-0', 3, (0, 1)),
        ('1-2', 3, (1, 3)),
        ('20%-80%', 12, (2, 9)),
        ('20%-80%', 24, (4, 19)),
        ('0%-100%', 5, (0, 5)),
    ],
)
def test_a_range_of_blocks(text, depth, found):
    assert block_range(text, depth) == found


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('2', 'expected two numbers'),
        ('1-20%', 'expected two numbers'),
        ('a-b', 'expected two numbers'),
        ('-1-2', 'expected two numbers'),
        ('1-3', 'blocks 0 to 2'),
        ('2-1', 'holds no block'),
        ('10%-20%', 'holds no block'),
        ('20%-180%', 'at most 100%'),
    ],
)
def test_a_range_that_cannot_be_is_one_line(text, words):
    net, variables = network('vit')
    with pytest.raises(UserError, match=words):
        make_plan(f'blocks:{text}', net, variables)


@pytest.mark.parametrize('strategy', ['blocks:1-1', 'mlp_in', 'attention_proj'])
@pytest.mark.parametrize('name', ['vit', 'bert', 'llama'])
def test_masks_train_what_their_definition_says(name, strategy):
    net, variables = network(name)
    phase = make_plan(strategy, net, variables).at(0)
    assert set(phase.trainable) == expected(net, variables, strategy)
    assert phase.cut == ('block_01' if strategy == 'blocks:1-1' else 'block_00')


def test_what_lies_above_a_pretrained_head_stays():
    net, variables = network('vit')
    phase = make_plan('blocks:1-1', net, variables, head_is_new=False).at(0)
    assert {path.split('/')[0] for path in phase.trainable} == {'block_01'}


def test_the_second_factor_of_lora_learns_faster():
    net, variables = network('bert')
    made, whole = with_adapters(as_settings('lora:2+loraplus:16'), net, variables)
    phase = make_plan('lora:2+loraplus:16', made, whole).at(0)
    rates = dict(zip(phase.trainable, phase.multipliers, strict=True))
    factors = {path: rates[path] for path in rates if 'lora_' in path}
    assert len(factors) == 2 * 2 * 3
    assert {path.rpartition('_')[2]: rate for path, rate in factors.items()} == {'a': 1, 'b': 16}
    assert {rates[path] for path in rates if path.startswith('head/')} == {1}
    # As in PEFT's optimizer of LoRA+: no factor decays, the head does; without it all of them do.
    decayed = {path for path in phase.trainable if phase.leaves[path].decay}
    assert decayed == {'head/dense/kernel'}
    alone = make_plan('lora:2', made, whole).at(0)
    assert {path for path in factors if alone.leaves[path].decay} == {*factors}
    written = {'strategy': 'lora:2+loraplus:16', 'decay_vectors': True}
    leaves = make_plan(written, made, whole).at(0).leaves
    assert not any(leaves[path].decay for path in factors) and leaves['head/dense/bias'].decay
    with pytest.raises(UserError, match='lora:8\\+loraplus:16'):
        make_plan('full+loraplus', net, variables)


def test_a_word_goes_to_the_argument_that_is_text():
    assert str(parse_term('lora:8,all')) == str(parse_term('lora:8,targets=all'))
    assert parse_term('lora:4,32,all').arguments == {'r': 4, 'alpha': 32.0, 'targets': 'all'}
    with pytest.raises(UserError, match="must be a number, not 'nan'"):
        parse_term('lora:8,nan')
    with pytest.raises(UserError, match="must be a whole number, not 'two'"):
        parse_term('last:two')


def test_all_is_every_dense_layer_but_the_heads():
    net, variables = network('llama')
    _, whole = with_adapters(as_settings('lora:2,all'), net, variables)
    found = {p for p in flatten_dict(whole['params'], sep='/') if p.endswith('lora_a')}
    layers = ('attn/query', 'attn/key', 'attn/value', 'attn/out', 'mlp/gate', 'mlp/up', 'mlp/down')
    assert found == {f'{block}/{layer}/lora_a' for block in net.blocks for layer in layers}


@pytest.mark.parametrize('block', [2, 3, 8])
def test_rotations_are_orthogonal_and_those_of_the_formula(block):
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(3, block * (block - 1) // 2))
    found = np.asarray(rotations(jnp.asarray(vectors, jnp.float32), block))
    for vector, matrix in zip(vectors, found, strict=True):
        skew, at = np.zeros((block, block)), 0
        for row in range(block):
            for column in range(row + 1, block):
                skew[row, column], skew[column, row] = vector[at], -vector[at]
                at += 1
        wanted = (np.eye(block) - skew) @ np.linalg.inv(np.eye(block) + skew)
        np.testing.assert_allclose(matrix, wanted, atol=1e-5)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(block), atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-5)


@pytest.mark.parametrize('scale', [0.0, 0.3, 10.0])
def test_the_inverse_and_its_gradient_are_those_of_a_solver(scale):
    draw = np.random.default_rng(1).normal(size=(2, 3, 32, 32))
    skew, weights = scale * (draw[0] - draw[0].swapaxes(-1, -2)), jnp.asarray(draw[1], jnp.float32)
    matrices = jnp.asarray(np.eye(32) + skew, jnp.float32)

    def summed(invert):
        return jax.grad(lambda matrices: (invert(matrices) * weights).sum())(matrices)

    wanted = np.linalg.inv(np.eye(32) + skew)
    np.testing.assert_allclose(inverse(matrices), wanted, atol=1e-5)
    np.testing.assert_allclose(summed(inverse), summed(jnp.linalg.inv), atol=1e-4)
    both = jax.vmap(inverse)(jnp.stack([matrices, matrices[::-1]]))  # as a sweep in one program
    np.testing.assert_allclose(both[1], wanted[::-1], atol=1e-5)


def test_a_block_that_divides_no_layer_is_refused():
    net, variables = network('vit')
    with pytest.raises(UserError, match=r'oft:3.*finds nothing to act on'):
        with_adapters(as_settings('oft:3'), net, variables)


def test_adapter_plus_by_hand():
    net, variables = network('vit')
    made, whole = with_adapters(as_settings('adapter_plus:4'), net, variables)
    flat = flatten_dict(whole['params'], sep='/')
    inputs = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    _, plain = net.apply(variables, inputs, taps=('block_00',))
    _, seen = made.apply(whole, inputs, taps=('block_00',))
    h, at = np.asarray(plain['block_00']['hidden']), 'block_00/plus_'
    inner = jax.nn.gelu(h @ flat[f'{at}down'] + flat[f'{at}down_bias'], approximate=False)
    wanted = h + flat[f'{at}scale'] * (inner @ flat[f'{at}up'] + flat[f'{at}up_bias'])
    np.testing.assert_allclose(seen['block_00']['hidden'], wanted, atol=1e-5)
    assert (flat[f'{at}scale'] == 1).all() and (flat[f'{at}up_bias'] == 0).all()
    with_noise = made.apply(whole, inputs, modes=TRAIN, rngs={'dropout': jax.random.key(0)})
    assert with_noise.shape == (5, 3)


def test_its_first_values_and_its_noise():
    drawn = np.asarray(truncated_normal(jax.random.key(0), (200, 100)))
    assert np.abs(drawn).max() <= 0.02
    # Of a normal distribution cut at two standard deviations: .880 of one.
    assert abs(drawn.std() / 0.0088 - 1) < 0.02
    kept = np.asarray(kept_at_random(jax.random.key(1), jnp.ones((4000, 2)), 0.1))
    assert (kept[:, 0] == kept[:, 1]).all() and abs(kept.mean() - 1) < 0.02
    assert set(np.unique(kept.round(4))) == {0, np.float32(1.1111)}


@pytest.mark.parametrize('order', ['descending', 'ascending', 'random'])
def test_badam_takes_one_block_at_a_time(order):
    net, variables = network('bert')
    plan = make_plan(f'badam:2,{order}', net, variables, run_length=RunLength(12, 3), seed=3)
    assert [phase.start for phase in plan.phases] == [0, 2, 4, 6, 8, 10]
    assert plan.optimizer_state == 'reset'
    turns = [{p.split('/')[0] for p in phase.trainable} - {'head'} for phase in plan.phases]
    assert all(len(turn) == 1 for turn in turns)
    names = [next(iter(turn)) for turn in turns]
    assert sorted(names[:3]) == sorted(names[3:]) == list(net.blocks)
    if order != 'random':
        down = list(net.blocks if order == 'ascending' else net.blocks[::-1])
        assert names == down + down
    assert all(any(x.startswith('head/') for x in p.trainable) for p in plan.phases)


def test_an_order_of_badam_that_is_none():
    net, variables = network('bert')
    with pytest.raises(UserError, match="did you mean 'descending'"):
        make_plan('badam:2,desending', net, variables)


def test_decay_spares_the_leaves_that_a_config_names():
    net, variables = network('vit')
    leaves = make_plan({'strategy': 'full', 'undecayed': 'embed/'}, net, variables).at(0).leaves
    spared = {path for path, leaf in leaves.items() if len(leaf.shape) > 1 and not leaf.decay}
    assert spared == {path for path in leaves if 'embed/' in path and len(leaves[path].shape) > 1}
    assert spared
    for given, words in (('embd/', 'matches no leaf'), ('(', 'no regular expression')):
        with pytest.raises(UserError, match=rf'freeze\.undecayed .*{words}'):
            make_plan({'strategy': 'full', 'undecayed': given}, net, variables)
