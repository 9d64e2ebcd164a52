"""Adapters on networks of several families: equal to the base at first, exact, mergeable."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from ftjax.errors import UserError
from ftjax.freezing.settings import as_settings
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.adapters.adapted import merge
from ftjax.models.adapters.adapter import Site
from ftjax.models.adapters.lora import LoRA
from ftjax.models.registry import build, options_of

FAMILIES = {
    'vit': {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2},
    'beit': {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2},
    'dinov3': {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2},
    'resnet_bn_cifar': {'depth': 8, 'width': 4, 'image_size': 8},
    'resnet_gn_cifar': {'depth': 8, 'width': 8, 'image_size': 8},
    'bert': {'vocab_size': 20, 'width': 8, 'depth': 2, 'heads': 2, 'mlp_dim': 16},
    'llama': {'vocab_size': 20, 'width': 8, 'depth': 2, 'heads': 2, 'mlp_dim': 16},
    'gemma': {
        'vocab_size': 20,
        'width': 8,
        'depth': 1,
        'heads': 2,
        'mlp_dim': 16,
        'head_dim': 4,
        'qk_norm': True,
        'norms': 'both',
    },
    'convnextv2': {'image_size': 8, 'patch_size': 2, 'widths': (4,), 'depths': (1,)},
    'deberta': {'vocab_size': 20, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 16},
}
MERGEABLE = ('lora:2', 'rslora:2', 'dora:2', 'oft:4', 'ia3', 'ssf')
EXACT = (*MERGEABLE, 'adapter:4')


@functools.cache
def base(family):
    """A network with random numbers in every leaf, and inputs for it."""
    net = build(family, {**FAMILIES[family], 'num_classes': 3})
    example = net.example_input(3)
    variables = jax.jit(net.init)(jax.random.key(0), example)
    leaves, tree = jax.tree.flatten(variables)
    draw = np.random.default_rng(0)
    noisy = [x + 0.1 * draw.random(x.shape, np.float32) for x in leaves]

    def inputs(leaf):
        whole = jnp.issubdtype(leaf.dtype, jnp.integer)
        return draw.integers(1, 5, leaf.shape) if whole else draw.random(leaf.shape, np.float32)

    filled = jax.tree.map(inputs, example)
    if isinstance(filled, dict) and 'attention_mask' in filled:
        filled['attention_mask'] = np.ones_like(filled['attention_mask'])
    if isinstance(filled, dict) and 'token_type_ids' in filled:
        filled['token_type_ids'] = np.zeros_like(filled['token_type_ids'])
    return net, jax.tree.unflatten(tree, noisy), filled


def added(family, strategy):
    net, variables, inputs = base(family)
    made, whole = with_adapters(as_settings(strategy), net, variables)
    return net, variables, made, whole, inputs


def stirred(network, variables):
    """The variables with random numbers added to what adapters brought."""
    flat, draw = flatten_dict(variables['params'], sep='/'), np.random.default_rng(3)
    flat = {
        path: leaf + 0.1 * draw.normal(size=leaf.shape).astype(np.float32)
        if network.is_adapter_leaf(path)
        else leaf
        for path, leaf in flat.items()
    }
    return {**variables, 'params': unflatten_dict(flat, sep='/')}


# Convolutional networks have no attention for LoRA and IA3 to act on.
CASES = [
    *(('vit', strategy) for strategy in EXACT),
    *(('bert', 'lora:2'), ('llama', 'ia3'), ('resnet_gn_cifar', 'adapter:4')),
    pytest.param('resnet_bn_cifar', 'ssf', marks=pytest.mark.slow),
    # Norms that are none to SSF, or have a scale of another kind.
    *(('gemma', 'ssf'), ('convnextv2', 'ssf'), ('deberta', 'ssf')),
    *(
        pytest.param(family, strategy, marks=pytest.mark.slow)
        for family in ('bert', 'llama')
        for strategy in EXACT
        if (family, strategy) not in (('bert', 'lora:2'), ('llama', 'ia3'))
    ),
]


@pytest.mark.parametrize(('family', 'strategy'), CASES)
def test_it_equals_the_base_at_first_and_after_merging(family, strategy):
    net, variables, made, whole, inputs = added(family, strategy)
    expected = np.asarray(jax.jit(net.apply)(variables, inputs))
    run = jax.jit(made.apply)
    assert np.allclose(run(whole, inputs), expected, rtol=1e-6, atol=1e-6)
    changed = stirred(made, whole)
    after = np.asarray(run(changed, inputs))
    assert not np.allclose(after, expected, atol=1e-3)
    # The network's own weights are where they were, by the same names.
    own = flatten_dict(variables['params'], sep='/')
    flat = flatten_dict(changed['params'], sep='/')
    assert all(np.array_equal(flat[path], leaf) for path, leaf in own.items())
    assert all(made.is_adapter_leaf(path) for path in set(flat) - set(own))
    if strategy not in MERGEABLE:
        with pytest.raises(UserError, match=r'cannot be merged.*oft'):
            merge(made, changed)
        return
    merged, folded = merge(made, changed)
    assert options_of(merged) == options_of(net)
    assert np.allclose(jax.jit(merged.apply)(folded, inputs), after, rtol=1e-4, atol=1e-5)


# BEiT and DINOv3 have numbers for each pair or patch, which prompts do not.
@pytest.mark.parametrize('family', ['vit', 'bert', 'beit', 'dinov3'])
@pytest.mark.parametrize('strategy', ['prompt:2', 'prompt_deep:2'])
def test_prompts_add_tokens_that_no_later_stage_sees(family, strategy):
    _, _, made, whole, inputs = added(family, strategy)
    tokens = [p for p in flatten_dict(whole['params'], sep='/') if made.is_adapter_leaf(p)]
    assert len(tokens) == (1 if strategy == 'prompt:2' else 2)
    assert made.apply(whole, inputs).shape == (3, 3)
    _, seen = made.apply(whole, inputs, taps=made.stages[:-1])
    lengths = {
        name: state['hidden'].shape[1] for name, state in seen.items() if state['hidden'].ndim == 3
    }
    assert lengths['embed'] == lengths['block_01']


def test_lora_dora_and_ia3_equal_their_formulas():
    """Outputs of one adapted layer against the papers' formulas, in double precision."""
    for strategy in ('lora:2,6', 'rslora:2,6', 'dora:2,6'):
        _, _, made, whole, _ = added('vit', strategy)
        changed = stirred(made, whole)
        _, folded = merge(made, changed)
        flat = {
            p: np.asarray(x, np.float64)
            for p, x in flatten_dict(changed['params'], sep='/').items()
        }
        at = 'block_00/attn/query/'
        scale = 6 / np.sqrt(2) if strategy.startswith('rs') else 6 / 2
        weight = flat[f'{at}kernel'] + scale * flat[f'{at}lora_a'] @ flat[f'{at}lora_b']
        if strategy.startswith('dora'):
            weight = flat[f'{at}dora_magnitude'] * weight / np.linalg.norm(weight, axis=0)
            first = flatten_dict(whole['params'], sep='/')[f'{at}dora_magnitude']
            assert np.allclose(first, np.linalg.norm(flat[f'{at}kernel'], axis=0), rtol=1e-6)
        found = flatten_dict(folded['params'], sep='/')[f'{at}kernel']
        assert np.allclose(found, weight, rtol=1e-5), strategy
    _, _, made, whole, _ = added('vit', 'ia3')
    changed = stirred(made, whole)
    flat = flatten_dict(changed['params'], sep='/')
    found = flatten_dict(merge(made, changed)[1]['params'], sep='/')
    at = 'block_01/mlp/fc2/'
    assert np.allclose(found[f'{at}kernel'], flat[f'{at}ia3_input'][:, None] * flat[f'{at}kernel'])
    at = 'block_01/attn/value/'
    assert np.allclose(found[f'{at}bias'], flat[f'{at}ia3_output'] * flat[f'{at}bias'])


def test_the_norm_in_dora_gets_no_gradient():
    """The paper holds |W + s A B| constant in the gradient (section 4.3)."""
    draw = np.random.default_rng(0)
    x, kernel = draw.normal(size=(4, 3)), draw.normal(size=(3, 5))
    params = {'lora_a': draw.normal(size=(3, 2)), 'lora_b': draw.normal(size=(2, 5))}
    params['dora_magnitude'] = draw.normal(size=5)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    adapter = LoRA(2, 6.0, targets='query', magnitude=True)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(5, use_bias=False, name='query')

            def intercept(run, args, kwargs, context):
                if context.method_name != '__call__' or not isinstance(context.module, nn.Dense):
                    return run(*args, **kwargs)
                return adapter.call(Site(context.module, 'query', (), adapter), run, args, kwargs)

            with nn.intercept_methods(intercept):
                return dense(x)

    def output(params):
        return (Net().apply({'params': {'query': {**params, 'kernel': kernel}}}, x) ** 2).sum()

    def by_hand(params, hold):
        weight = kernel + adapter.scale * params['lora_a'] @ params['lora_b']
        norm = jnp.linalg.norm(weight, axis=0)
        norm = jax.lax.stop_gradient(norm) if hold else norm
        return ((x @ (params['dora_magnitude'] * weight / norm)) ** 2).sum()

    found = jax.grad(output)(params)
    held, free = (jax.grad(by_hand)(params, hold) for hold in (True, False))
    for name in params:
        assert np.allclose(found[name], held[name], rtol=1e-4, atol=1e-4)
    assert not np.allclose(held['lora_b'], free['lora_b'], rtol=1e-2)


def test_wrong_networks_and_double_adapters_are_refused():
    for family, strategy in (('resnet_gn_cifar', 'lora:2'), ('resnet_bn_cifar', 'ia3')):
        with pytest.raises(UserError, match='finds nothing to act on'):
            added(family, strategy)
    with pytest.raises(UserError, match='carries an image'):
        added('resnet_gn_cifar', 'prompt:2')
    with pytest.raises(UserError, match='put it first'):
        added('vit', 'ssf+dora:2')
    _, _, made, whole, _ = added('vit', 'lora:2')
    with pytest.raises(UserError, match='has adapters already'):
        with_adapters(as_settings('ia3'), made, whole)
    changed = stirred(made, whole)  # as a run left them
    again, variables = with_adapters(as_settings('lora:2'), made, changed)
    assert again == made and variables == changed


def test_two_adapters_at_once_and_any_dense_layer():
    net, variables, made, whole, inputs = added('vit', 'lora:2,16,query|fc1+ssf')
    assert np.allclose(made.apply(whole, inputs), net.apply(variables, inputs), atol=1e-6)
    names = {p for p in flatten_dict(whole['params'], sep='/') if 'lora_a' in p}
    assert {p.rsplit('/', 2)[1] for p in names} == {'query', 'fc1'}
    changed = stirred(made, whole)
    merged, folded = merge(made, changed)
    assert np.allclose(
        merged.apply(folded, inputs), made.apply(changed, inputs), rtol=1e-4, atol=1e-5
    )
