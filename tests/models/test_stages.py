"""The stage contract: any part of a network runs alone, and the parts make the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.models.registry import build
from ftjax.models.stages import EVAL, TRAIN

NETWORKS = {
    'vit': {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'dropout': 0.2},
    'vit_mean': {
        'image_size': 8,
        'patch_size': 4,
        'width': 8,
        'depth': 2,
        'heads': 2,
        'pool': 'mean',
        'drop_path': 0.3,
    },
    'resnet_bn_cifar': {'depth': 8, 'width': 4, 'image_size': 8},
    'resnet_gn_cifar': {'depth': 8, 'width': 8, 'image_size': 8},
}


@functools.cache
def made(name):
    net = build(name.partition('_mean')[0], {**NETWORKS[name], 'num_classes': 3})
    variables = jax.jit(net.init)(jax.random.key(0), net.example_input())
    inputs = jax.random.normal(jax.random.key(1), net.example_input(4).shape)
    return net, variables, inputs


def run(net, variables, inputs, mode, **stages):
    """(output, statistics) of some stages, with the same random numbers each time."""
    rngs = {'dropout': jax.random.key(2)}
    out, moved = net.apply(
        variables, inputs, modes=mode, rngs=rngs, mutable=['batch_stats'], **stages
    )
    return out, dict(moved.get('batch_stats', {}))


@pytest.mark.parametrize('mode', [EVAL, TRAIN], ids=['eval', 'train'])
@pytest.mark.parametrize('name', NETWORKS)
def test_stages_up_to_k_and_from_k_on_make_the_whole(name, mode):
    net, variables, inputs = made(name)
    whole, stats = run(net, variables, inputs, mode)
    assert whole.shape == (4, 3) and np.isfinite(whole).all()
    for cut in net.stages[1:]:
        state, first = run(net, variables, inputs, mode, stop=cut)
        out, second = run(net, variables, state, mode, start=cut)
        np.testing.assert_allclose(out, whole, rtol=1e-6, atol=1e-6)
        parts = {
            **first,
            **{k: v for k, v in second.items() if net.stages.index(k) >= net.stages.index(cut)},
        }
        for stage in stats:
            for one, two in zip(
                jax.tree.leaves(stats[stage]), jax.tree.leaves(parts[stage]), strict=True
            ):
                np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', ['vit', 'resnet_bn_cifar'])
def test_parameters_are_named_by_stage_in_depth_order(name):
    net, variables, _ = made(name)
    assert set(variables['params']) <= set(net.stages)
    assert net.blocks == tuple(sorted(net.blocks))
    assert [stage for group in net.sections for stage in group] == list(
        net.stages[: net.stages.index(net.blocks[-1]) + 1]
    )


def test_a_mode_of_one_stage_leaves_the_others_alone():
    net, variables, inputs = made('resnet_bn_cifar')
    last = net.blocks[-1]
    _, stats = run(net, variables, inputs, {last: TRAIN})
    old = variables['batch_stats']
    for stage in old:
        pairs = zip(jax.tree.leaves(old[stage]), jax.tree.leaves(stats[stage]), strict=True)
        moved = [not np.array_equal(a, b) for a, b in pairs]
        assert all(moved) if stage == last else not any(moved)


def test_taps_are_the_outputs_of_their_stages():
    net, variables, inputs = made('vit')
    out, seen = net.apply(variables, inputs, taps=('block_00', 'norm'))
    assert set(seen) == {'block_00', 'norm'} and out.shape == (4, 3)
    state = net.apply(variables, inputs, stop='block_01')
    assert jnp.array_equal(state['hidden'], seen['block_00']['hidden'])


def test_an_unknown_stage_names_the_nearest():
    net, variables, inputs = made('vit')
    with pytest.raises(UserError, match='block_01'):
        net.apply(variables, inputs, stop='blok_01')
