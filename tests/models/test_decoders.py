"""Decoders: stages, masks, windows, rotary positions, and the head that owns no table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.models.layers.attention import attend
from ftjax.models.layers.rotary import frequencies, rotate
from ftjax.models.registry import build

VOCAB = 20
TINY = {'vocab_size': VOCAB, 'width': 16, 'depth': 2, 'heads': 4, 'mlp_dim': 24}
GPT2 = TINY | {'max_positions': 10, 'dropout': 0.0}
LLAMA = TINY | {'kv_heads': 2}
# Programs that run once: what the compiler saves is more than what it makes faster.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={
        'xla_backend_optimization_level': 0,
        'xla_llvm_disable_expensive_passes': True,
    },
)
IDS = jnp.asarray(np.random.default_rng(0).integers(0, VOCAB, (2, 6)), jnp.int32)


def start(name, options, **more):
    network = build(name, {**options, **more})
    return network, quick_jit(network.init)(jax.random.key(0), {'input_ids': IDS})


@pytest.mark.parametrize(('name', 'options'), [('gpt2', GPT2), ('llama', LLAMA)])
def test_any_cut_gives_the_same(name, options):
    network, variables = start(name, options, head='lm', tied=True)
    inputs = {'input_ids': IDS, 'attention_mask': jnp.ones_like(IDS).at[1, 4:].set(0)}
    run = quick_jit(network.apply, static_argnames=('start', 'stop'))
    whole = run(variables, inputs)
    assert whole.shape == (2, 6, VOCAB)
    assert whole.dtype == jnp.float32
    for stage in ('block_01', 'head'):
        state = run(variables, inputs, stop=stage)
        assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(state)), 'a batch axis on all'
        np.testing.assert_allclose(run(variables, state, start=stage), whole, atol=1e-6)


def test_tied_head_is_one_leaf_with_one_gradient():
    network, variables = start('gpt2', GPT2, head='lm')
    assert network.ties == {'head': 'embed/word_embed/embedding'}
    assert 'head' not in variables['params']
    untied, apart = start('gpt2', GPT2, head='lm', tied=False)
    assert untied.ties == {}
    params = variables['params']
    kernel = params['embed']['word_embed']['embedding'].T
    apart = {'params': {**params, 'head': {'dense': {'kernel': kernel}}}}
    inputs = {'input_ids': IDS}

    def loss(variables, network, inputs, **stages):
        return (network.apply(variables, inputs, **stages) ** 2).mean()

    gradient = quick_jit(jax.grad(loss), static_argnums=1, static_argnames='start')
    one = gradient(variables, network, inputs)['params']
    two = gradient(apart, untied, inputs)['params']
    table = two['embed']['word_embed']['embedding'] + two['head']['dense']['kernel'].T
    np.testing.assert_allclose(one['embed']['word_embed']['embedding'], table, atol=1e-6)
    # From a cut on, what is left is the head's share.
    state = network.apply(variables, inputs, stop='norm')
    late = gradient(variables, network, state, start='norm')['params']
    np.testing.assert_allclose(
        late['embed']['word_embed']['embedding'], two['head']['dense']['kernel'].T, atol=1e-6
    )
    with pytest.raises(UserError, match='reads params/embed/word_embed/embedding'):
        network.apply({'params': {'norm': params['norm']}}, state, start='norm')


@pytest.mark.parametrize('pool', ['last', 'mean'])
@pytest.mark.parametrize(('name', 'options'), [('gpt2', GPT2), ('llama', LLAMA)])
def test_padding_on_either_side(name, options, pool):
    network, variables = start(name, options, num_classes=3, pool=pool)
    run = quick_jit(network.apply)
    alone = run(variables, {'input_ids': IDS[:, :4]})
    assert alone.shape == (2, 3)
    for before, after in ((0, 2), (2, 0), (1, 1)):
        around = ((0, 0), (before, after))
        mask = jnp.pad(jnp.ones((2, 4), jnp.int32), around)
        ids = jnp.pad(IDS[:, :4], around, constant_values=7)
        padded = run(variables, {'input_ids': ids, 'attention_mask': mask})
        np.testing.assert_allclose(padded, alone, atol=2e-6)


def test_padding_keeps_bfloat16_finite():
    network, variables = start(
        'llama', LLAMA, num_classes=3, dtype='bfloat16', qk_norm=True, depth=1
    )
    inputs = {'input_ids': IDS, 'attention_mask': jnp.zeros_like(IDS).at[:, 4:].set(1)}
    gradients = quick_jit(jax.grad(lambda v: network.apply(v, inputs).sum()))(variables)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize('name', ['gpt2', 'llama'])
def test_causal_and_window(name):
    """A changed token changes what may see it, and nothing else."""
    options = {'gpt2': GPT2, 'llama': LLAMA | {'window': 2, 'window_from': 1}}[name]
    network, variables = start(name, options, pool='none', depth=3)

    def differs(network):
        run = quick_jit(network.apply)
        out = run(variables, {'input_ids': IDS})['hidden']
        changed = run(variables, {'input_ids': IDS.at[0, 1].set(IDS[0, 1] ^ 1)})['hidden']
        return (np.abs(changed - out).max(-1) > 1e-6).tolist()

    assert differs(network) == [[False, True, True, True, True, True], [False] * 6]
    if name == 'llama':
        # With a window in every block the token is out of sight after three steps.
        seen = differs(network.clone(window_from=0))
        assert seen[0] == [False, True, True, True, True, False]


def test_window_of_attention_is_the_band():
    rng = np.random.default_rng(0)
    query, key, value = (jnp.asarray(rng.normal(size=(1, 5, 1, 4)), jnp.float32) for _ in range(3))
    out = attend(query, key, value, causal=True, window=2)
    for t in range(5):
        seen = slice(max(0, t - 1), t + 1)
        want = attend(query[:, t : t + 1], key[:, seen], value[:, seen])
        np.testing.assert_allclose(out[:, t : t + 1], want, atol=1e-6)


def test_rotary_products_depend_on_distance():
    rng = np.random.default_rng(0)
    query, key = (jnp.asarray(rng.normal(size=(1, 1, 1, 8)), jnp.float32) for _ in range(2))
    angle = frequencies(8, 100.0, ('llama3', 8.0, 1.0, 4.0, 16))

    def product(i, j):
        at = [rotate(x, jnp.asarray([[p]]), angle) for x, p in ((query, i), (key, j))]
        return float((at[0] * at[1]).sum())

    assert product(5, 2) == pytest.approx(product(9, 6), abs=1e-5)
    assert product(5, 2) != pytest.approx(product(5, 3), abs=1e-2)


def test_rotary_scalings():
    plain = frequencies(8, 10000.0)
    np.testing.assert_allclose(plain, [1, 0.1, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(frequencies(8, 10000.0, ('linear', 4.0)), plain / 4, rtol=1e-6)
    stretched = frequencies(8, 10000.0, ('llama3', 8.0, 1.0, 4.0, 256.0))
    # Wavelengths 6.3 (kept), 63 (kept: under 64), 628 and 6283 (over 256: divided).
    np.testing.assert_allclose(stretched, plain / [1, 1, 8, 8], rtol=1e-6)


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('gpt2', {'width': 10, 'heads': 4}, 'width 10'),
        ('gpt2', {'head': 'ml'}, "unknown head 'ml'"),
        ('gpt2', {'head': 'vector', 'pool': 'none'}, 'needs pool'),
        ('llama', {'kv_heads': 3}, 'multiple of kv_heads 3'),
        ('llama', {'head_dim': 5}, 'even heads'),
        ('llama', {'rope_scaling': ('yarn', 2.0)}, 'known are'),
        ('llama', {'rope_scaling': ('linear',)}, 'known are'),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(UserError, match=message):
        build(name, {**TINY, **options})


def test_inputs_that_cannot_be():
    network, variables = start('gpt2', GPT2)
    with pytest.raises(UserError, match='11 tokens where the network has positions for 10'):
        network.apply(variables, {'input_ids': jnp.zeros((1, 11), jnp.int32)})
    with pytest.raises(UserError, match='input_ids'):
        network.apply(variables, IDS)
    with pytest.raises(UserError, match='token_type_ids'):
        network.apply(variables, {'input_ids': IDS, 'token_type_ids': IDS})
