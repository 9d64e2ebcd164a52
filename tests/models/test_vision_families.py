"""The stage contract, for every vision family: names, partial runs, options, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.models.registry import build, options_of
from ftjax.models.stages import EVAL, TRAIN

TINY = {'depth': 2, 'width': 16, 'heads': 2, 'image_size': (16, 24), 'patch_size': 8}
TWO = {'depths': (1, 2), 'image_size': (40, 32)}
NETWORKS = {
    'vit mean beside a class token': ('vit', TINY | {'pool': 'mean', 'class_token': True}),
    'deit': ('deit', TINY | {'drop_path': 0.5}),
    'deit one head': ('deit', TINY | {'distilled_head': False}),
    'dinov2': ('dinov2', TINY | {'registers': 3}),
    'dinov2 giant': ('dinov2', TINY | {'gated': True, 'pool': 'cls'}),
    'clip': ('clip_vision', TINY | {'projection': 6}),
    'clip mean': ('clip_vision', TINY | {'pool': 'mean'}),
    'siglip': ('siglip_vision', TINY | {'dropout': 0.2}),
    'siglip mean': ('siglip_vision', TINY | {'pool': 'mean'}),
    'dinov3': ('dinov3', TINY | {'registers': 3, 'drop_path': 0.3}),
    'beit': ('beit', TINY | {'shared_bias': True, 'absolute_positions': True}),
    'swinv2': ('swinv2', TWO | {'heads': (1, 2), 'width': 8, 'window': 3, 'drop_path': 0.3}),
    'convnextv2': ('convnextv2', TWO | {'widths': (8, 12)}),
    'efficientnet': (
        'efficientnet',
        {
            'repeats': (1, 1),
            'entries': (32, 16),
            'widths': (16, 24),
            'kernels': (3, 5),
            'strides': (1, 2),
            'expansions': (1, 2),
            'width_factor': 0.25,
            'dropout': 0.2,
            'image_size': (24, 16),
        },
    ),
    'swin': ('swin', TWO | {'heads': (1, 2), 'width': 8, 'window': 3, 'drop_path': 0.3}),
    'convnext': ('convnext', TWO | {'widths': (8, 12)}),
    'resnet': ('resnet', TWO | {'widths': (8, 12)}),
    'resnet bottleneck': ('resnet', TWO | {'widths': (8, 12), 'block': 'bottleneck'}),
}


@functools.cache
def made(name):
    model, options = NETWORKS[name]
    network = build(model, options | {'num_classes': 5})
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input(2))
    rng = np.random.default_rng(0)
    # Positive throughout, for the running variances; nothing here needs more.
    return network, jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.1, 0.3, leaf.shape), leaf.dtype), shapes
    )


@pytest.mark.parametrize('name', NETWORKS)
def test_parameters_follow_the_stages(name):
    network, variables = made(name)
    bare = [s for s in network.stages if s not in variables['params']]
    assert set(variables['params']) <= set(network.stages)
    assert all(stage == 'pool' for stage in bare)
    assert [s for s in network.stages if s in network.blocks] == list(network.blocks)
    # Every stage up to the last block is in exactly one section, in order.
    joined = [stage for section in network.sections for stage in section]
    assert joined == list(network.stages[: len(joined)])
    assert joined[-1] == network.blocks[-1]


@pytest.mark.parametrize('name', NETWORKS)
def test_options_rebuild_the_network(name):
    network, _ = made(name)
    model, options = options_of(network)
    assert build(model, options) == network


@pytest.mark.parametrize('name', NETWORKS)
def test_run_in_two_parts_equals_run_in_one(name):
    network, variables = made(name)
    images = jax.random.normal(jax.random.key(1), network.example_input(2).shape)
    modes = {stage: EVAL if stage == network.stages[0] else TRAIN for stage in network.stages}
    options = {
        'modes': modes,
        'rngs': {'dropout': jax.random.key(2)},
        'mutable': ['batch_stats'],
    }

    @functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
    def run(variables, images):
        whole, seen = network.apply(variables, images, taps=network.stages, **options)[0]
        parts = {
            stage: network.apply(variables, before, start=stage, **options)[0]
            for stage, before in zip(network.stages[1:], list(seen.values()), strict=False)
            if stage in (network.blocks[0], network.blocks[-1], 'pooler', 'head')
        }
        return whole, seen, parts

    whole, seen, parts = run(variables, images)
    assert set(seen) == set(network.stages)
    assert whole.shape == (2, 5)
    assert whole.dtype == jnp.float32
    for stage, part in parts.items():
        np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-6, err_msg=stage)


@pytest.mark.parametrize(
    ('model', 'rates'), [('vit', [0, 0.2, 0.4]), ('dinov2', [0.4] * 3), ('dinov3', [0.4] * 3)]
)
def test_stochastic_depth_by_block_is_that_of_the_reference(model, rates):
    network = build(model, TINY | {'depth': 3, 'drop_path': 0.4})
    assert [network.make_stage(name).keywords['drop_path'] for name in network.blocks] == rates


def test_wrong_image_size_is_told():
    for name in ('deit', 'swin'):
        network, variables = made(name)
        with pytest.raises(UserError, match=r'\(8, 8, 3\)'):
            network.apply(variables, jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    ('model', 'options', 'message'),
    [
        ('vit', TINY | {'pool': 'cls', 'class_token': False}, 'class_token'),
        ('vit', TINY | {'pool': 'clss'}, "did you mean 'cls'"),
        ('dinov2', TINY | {'pool': 'mean'}, 'pool'),
        ('swin', TWO | {'heads': (3, 6), 'width': 8}, 'heads'),
        ('swin', {'image_size': 32}, 'less than one window of 7'),
        ('resnet', {'depths': (1,)}, 'widths'),
        ('resnet', {'block': 'botleneck'}, "did you mean 'bottleneck'"),
        ('convnext', {'depths': (0, 1, 1, 1)}, 'depths'),
        ('dinov3', TINY | {'qkv_bias': False}, 'query_bias'),
        ('dinov3', TINY | {'width': 12}, 'not a multiple of 4'),
        ('swinv2', {'absolute_positions': True}, 'no absolute_positions'),
        ('efficientnet', {'entries': (32,)}, 'one number for each stage'),
        ('efficientnet', {'entries': (32, 16, 24, 40, 80, 112, 200)}, 'are not what the stages'),
    ],
)
def test_impossible_options_are_told(model, options, message):
    with pytest.raises(UserError, match=message):
        build(model, options)
