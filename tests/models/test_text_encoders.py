"""BERT and its relatives: the stage contract, pooling, positions, dropout, errors."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.models.encoders.text_encoder import Pool
from ftjax.models.registry import build, options_of
from ftjax.models.stages import EVAL, TRAIN
from ftjax.runs.prepare import Prepared

TINY = {'vocab_size': 30, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 24, 'max_positions': 12}
NETWORKS = {
    'bert': ('bert', {}),
    'bert mean': ('bert', {'pool': 'mean'}),
    'roberta': ('roberta', {'head_dropout': 0.5}),
    'electra': ('electra', {'embedding_size': 6}),
    'distilbert': ('distilbert', {'dropout': 0.0}),
    'albert': ('albert', {'embedding_size': 6, 'groups': 2}),
    'mpnet': ('mpnet', {'dropout': 0.2}),
    'deberta': ('deberta', {'buckets': 4, 'conv_size': 3}),
}
INPUTS = {
    'input_ids': np.array([[5, 6, 7, 8, 9], [9, 8, 1, 1, 1]], np.int32),
    'attention_mask': np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.int32),
}
quick = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}


@functools.cache
def made(name):
    model, options = NETWORKS[name]
    network = build(model, TINY | options | {'num_classes': 3})
    variables = jax.jit(network.init, compiler_options=quick)(
        jax.random.key(0), network.example_input(2)
    )
    return network, variables


@functools.cache
def seen(name):
    """The logits and every stage's output."""
    network, variables = made(name)
    return network.apply(variables, INPUTS, taps=network.stages)


@pytest.mark.parametrize('name', NETWORKS)
def test_stages_and_options(name):
    network, variables = made(name)
    assert [s for s in network.stages if s not in variables['params']] in ([], ['pool'])
    assert set(variables['params']) <= set(network.stages)
    assert network.blocks == ('block_00', 'block_01')
    assert build(*options_of(network)) == network
    logits = seen(name)[0]
    assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)


@pytest.mark.parametrize('name', NETWORKS)
def test_a_run_in_two_parts_is_the_whole(name):
    network, variables = made(name)
    logits, outputs = seen(name)
    before = dict(zip(network.stages[1:], network.stages[:-1], strict=True))
    for start, stage in before.items():
        np.testing.assert_array_equal(network.apply(variables, outputs[stage], start=start), logits)


def test_a_head_run_needs_one_vector_an_example():
    for name in NETWORKS:
        network, _ = made(name)
        outputs = seen(name)[1]
        assert jax.tree.map(jnp.shape, outputs[network.stages[-2]]) == {'hidden': (2, 16)}
        assert jax.tree.map(jnp.shape, outputs['block_00']) == {
            'hidden': (2, 5, 16),
            'mask': (2, 5),
        }


def test_what_is_left_out_is_all_ones_and_all_zeros():
    network, variables = made('bert')
    ids = INPUTS['input_ids']
    full = {'input_ids': ids, 'attention_mask': ids * 0 + 1, 'token_type_ids': ids * 0}
    np.testing.assert_array_equal(
        network.apply(variables, full), network.apply(variables, {'input_ids': ids})
    )


def test_mask_and_token_types_count():
    network, variables = made('bert')
    ids = {'input_ids': INPUTS['input_ids']}
    plain = network.apply(variables, ids)
    masked = np.abs(network.apply(variables, INPUTS) - plain).max(axis=1)
    assert masked[0] == 0 and masked[1] > 1e-4
    typed = network.apply(variables, {**ids, 'token_type_ids': ids['input_ids'] % 2})
    assert np.abs(typed - plain).max() > 1e-4


def test_mean_is_over_real_tokens():
    hidden = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    state = {'hidden': hidden, 'mask': np.array([[True, False, True]])}
    np.testing.assert_array_equal(Pool('mean')(state, EVAL)['hidden'], [[4, 5, 6, 7]])
    np.testing.assert_array_equal(Pool('cls')(state, EVAL)['hidden'], [[0, 1, 2, 3]])


def test_roberta_counts_positions_from_beyond_the_padding():
    """The first pad_id + 1 rows of the table serve no real token, the last serves the last."""
    network, variables = made('roberta')
    ids = {'input_ids': np.full((1, 10), 5)}

    def gradient(variables):
        return network.apply(variables, ids, stop='block_00')['hidden'][..., 0].sum()

    found = jax.jit(jax.grad(gradient), compiler_options=quick)(variables)['params']['embed'][
        'position_embed'
    ]['embedding']
    assert not found[:2].any() and found[2:].any(axis=1).all()


def test_dropout_is_off_unless_asked_for():
    for name in ('bert', 'roberta', 'distilbert'):
        network, variables = made(name)
        rngs = {'dropout': jax.random.key(1)}
        quiet = network.apply(variables, INPUTS, modes=EVAL, rngs=rngs)
        np.testing.assert_array_equal(quiet, seen(name)[0])
        modes = {'head': TRAIN} if name != 'bert' else TRAIN
        assert not np.allclose(network.apply(variables, INPUTS, modes=modes, rngs=rngs), quiet)


@pytest.mark.parametrize(('name', 'drops'), [('bert', True), ('distilbert', False)])
def test_what_attention_answers_is_dropped_as_in_the_reference(name, drops):
    """By a block in training whose perceptron gives nothing."""
    network, variables = made(name)
    network = network.clone(dropout=0.5)
    block = variables['params']['block_00']
    silent = {**block['mlp'], 'fc2': jax.tree.map(jnp.zeros_like, block['mlp']['fc2'])}
    params = {**variables['params'], 'block_00': {**block, 'mlp': silent}}

    def run(mode):
        out = network.apply(
            {'params': params},
            seen(name)[1]['embed'],
            start='block_00',
            stop='block_01',
            modes=mode,
            rngs={'dropout': jax.random.key(1)},
        )
        return out['hidden']

    assert np.array_equal(run(TRAIN), run(EVAL)) != drops


@pytest.mark.parametrize(
    ('name', 'inputs', 'match'),
    [
        ('bert', np.zeros((1, 4), int), 'input_ids'),
        ('bert', {'input_ids': np.zeros((1, 13), int)}, '13 tokens .* positions for 12'),
        ('roberta', {'input_ids': np.zeros((1, 11), int)}, '11 tokens .* positions for 10'),
        (
            'distilbert',
            {'input_ids': np.zeros((1, 2), int), 'token_type_ids': np.zeros((1, 2), int)},
            'no token types',
        ),
    ],
)
def test_wrong_inputs(name, inputs, match):
    network, variables = made(name)
    with pytest.raises(UserError, match=match):
        jax.eval_shape(network.apply, variables, inputs)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'heads': 3}, 'not a multiple of heads 3'),
        ({'pool': 'man'}, "'mean'"),
        ({'pool': 'none', 'num_classes': 0, 'head': 'vector'}, 'needs pool'),
    ],
)
def test_wrong_options(options, match):
    with pytest.raises(UserError, match=match):
        build('bert', TINY | options)


def test_albert_runs_its_blocks_several_times_and_the_plan_says_so():
    network = build('albert', TINY | {'embedding_size': 6, 'depth': 5, 'groups': 2})
    assert network.runs == {'block_00': 3, 'block_01': 2}
    assert network.blocks == ('block_00', 'block_01')
    lines = list(Prepared._runs_again(types.SimpleNamespace(network=network)))
    assert [line.split(' with one set')[0] for line in lines] == [
        'block_00 runs 3 times',
        'block_01 runs 2 times',
    ]
    assert all('no part of that depth can be frozen alone' in line for line in lines)
    assert not list(Prepared._runs_again(types.SimpleNamespace(network=build('bert', TINY))))
