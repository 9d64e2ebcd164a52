"""What only a GPU can show; run by scripts/device_suite.sh, skipped without one."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.freezing.plan.plan import make_plan
from ftjax.models import registry
from ftjax.models.layers.attention import attend, fused, is_fused
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.step.multi_step import MultiStep
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

ON_GPU = jax.default_backend() == 'gpu'
REHEARSED = os.environ.get('FTJAX_REHEARSE') == '1'
"""Run on a CPU what can be, so that a mistake in a test is found before a GPU is there."""
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not ON_GPU and not REHEARSED, reason='needs a GPU'),
]
needs_kernel = pytest.mark.skipif(not ON_GPU, reason='needs cuDNN')

TEXT = {'width': 32, 'depth': 2, 'heads': 2, 'num_classes': 3}
FAMILIES = {
    'vit': {'image_size': 32, 'patch_size': 8, **TEXT},
    'deit': {'image_size': 32, 'patch_size': 8, **TEXT},
    'dinov2': {'image_size': 32, 'patch_size': 8, **TEXT},
    'clip_vision': {'image_size': 32, 'patch_size': 8, **TEXT},
    'siglip_vision': {'image_size': 32, 'patch_size': 8, **TEXT},
    'swin': {'image_size': 32, 'patch_size': 4, 'window': 4, 'width': 16, 'depths': (1, 1),
             'heads': (2, 2), 'num_classes': 3},
    'convnext': {'depths': (1, 1), 'widths': (16, 32), 'num_classes': 3, 'image_size': 32},
    'resnet': {'depths': (1, 1), 'widths': (16, 32), 'num_classes': 3, 'image_size': 32},
    'resnet_gn_cifar': {'depth': 8, 'image_size': 32, 'num_classes': 3},
    'resnet_bn_cifar': {'depth': 8, 'image_size': 32, 'num_classes': 3},
    'bert': {'mlp_dim': 64, **TEXT},
    'roberta': {'mlp_dim': 64, **TEXT},
    'distilbert': {'mlp_dim': 64, **TEXT},
    'electra': {'mlp_dim': 64, **TEXT},
    'gpt2': TEXT,
    'llama': {'kv_heads': 1, 'mlp_dim': 64, **TEXT},
}  # fmt: skip


def tokens(batch=4, time=7):
    ids = np.random.default_rng(0).integers(5, 90, (batch, time)).astype(np.int32)
    mask = (np.arange(time) < np.linspace(3, time, batch).astype(int)[:, None]).astype(np.int32)
    return {'input_ids': ids * mask, 'attention_mask': mask}


def entered(family, dtype, freeze='last:1', **options):
    small = {'vocab_size': 97, 'max_positions': 32, 'dtype': dtype}
    known = registry.fields_of(registry.family(family))
    given = {name: value for name, value in small.items() if name in known}
    network = registry.build(family, {**given, **FAMILIES[family], **options})
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    plan = make_plan(freeze, network, variables)
    phase_state = PhaseState(
        RunSpec(
            network,
            variables,
            plan,
            optimizer=OptimizerSettings(weight_decay=0.1),
        )
    )
    phase_state.enter(0)
    inputs = network.example_input(4)
    if isinstance(inputs, dict):
        inputs = tokens()
    else:
        inputs = np.random.default_rng(1).normal(size=inputs.shape).astype(np.float32)
    batch = {
        'inputs': inputs,
        'labels': np.arange(4, dtype=np.int32) % 3,
        'mask': np.ones(4, np.float32),
    }
    return phase_state, batch


@pytest.mark.parametrize(
    'family, dtype',
    [
        *((family, 'bfloat16') for family in sorted(FAMILIES)),
        *((family, 'float32') for family in ('vit', 'bert', 'llama', 'resnet')),
    ],
)
def test_steps_of_every_family_run_and_freeze_bitwise(family, dtype):
    if dtype != 'float32' and 'dtype' not in registry.fields_of(registry.family(family)):
        pytest.skip('float32 alone')
    phase_state, batch = entered(family, dtype)
    frozen = jax.device_get(phase_state.frozen)
    start = jax.tree.map(
        np.array, phase_state.state.trainable
    )  # a copy: a view would keep it alive
    calls = 3
    stacked = jax.tree.map(lambda x: np.stack([x] * calls), batch)
    rates = np.full((calls, len(phase_state.phase.trainable)), 1e-2, np.float32)
    run = jax.jit(MultiStep(phase_state.step()), donate_argnums=0)
    given = phase_state.state
    phase_state.state, metrics = run(
        phase_state.state, phase_state.frozen, stacked, rates, np.int32(0)
    )
    losses = np.asarray(metrics['loss'])
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    for path, leaf in phase_state.frozen.params.items():
        np.testing.assert_array_equal(np.asarray(leaf), frozen.params[path])
    assert any(
        (np.asarray(leaf) != start[p]).any() for p, leaf in phase_state.state.trainable.items()
    )
    assert all(leaf.dtype == jnp.float32 for leaf in phase_state.state.trainable.values())
    # The state is donated: its buffers are the next state's.
    kept = [p for p, leaf in given.trainable.items() if not leaf.is_deleted()]
    assert not kept


@pytest.mark.parametrize('family', ['vit', 'bert', 'llama', 'swin', 'convnext', 'resnet'])
def test_a_forward_pass_equals_the_same_on_the_cpu(family):
    phase_state, batch = entered(family, 'float32', freeze='head')
    network, variables = phase_state.network, jax.device_get(phase_state.variables)
    with jax.default_matmul_precision('highest'):
        here = np.asarray(jax.jit(network.apply)(variables, batch['inputs']))
        with jax.default_device(jax.local_devices(backend='cpu')[0]):
            there = np.asarray(network.apply(variables, batch['inputs']))
    np.testing.assert_allclose(here, there, rtol=2e-4, atol=2e-4)


def arrays(time, kv_heads, depth=64):
    keys = jax.random.split(jax.random.key(time), 4)
    shapes = [(3, time, 4, depth), (3, time, kv_heads, depth), (3, time, kv_heads, depth)]
    query, key, value = (
        jax.random.normal(k, shape, jnp.bfloat16) for k, shape in zip(keys[:3], shapes, strict=True)
    )
    return query, key, value, jax.random.normal(keys[3], shapes[0], jnp.float32)


@needs_kernel
@pytest.mark.parametrize('time', [16, 197])
@pytest.mark.parametrize('kv_heads', [4, 2])
@pytest.mark.parametrize('kind', ['plain', 'right', 'left', 'causal', 'causal right', 'window'])
def test_cudnn_attention_and_its_gradients_equal_the_product(kind, kv_heads, time):
    query, key, value, weights = arrays(time, kv_heads)
    valid = None
    if 'right' in kind or 'left' in kind:
        lengths = np.array([time, time // 2, 5])[:, None]
        places = np.arange(time)
        valid = jnp.asarray(places < lengths if 'right' in kind else places >= time - lengths)
        weights = weights * valid[:, :, None, None]
    causal, window = kind.startswith(('causal', 'window')), 4 if kind == 'window' else None
    assert is_fused(query, key)

    def by_kernel(q, k, v):
        out = fused(q, k, v, valid, causal, window)
        return (out.astype(jnp.float32) * weights).sum(), out

    def by_product(q, k, v):
        q, k, v = (x.astype(jnp.float32) for x in (q, k, v))
        out = attend(q, k, v, valid=valid, causal=causal, window=window)
        return (out * weights).sum(), out

    with jax.default_matmul_precision('highest'):
        (_, out), grads = jax.jit(jax.value_and_grad(by_kernel, (0, 1, 2), has_aux=True))(
            query, key, value
        )
        (_, expected), other = jax.jit(jax.value_and_grad(by_product, (0, 1, 2), has_aux=True))(
            query, key, value
        )
    real = np.ones(out.shape[:2], bool) if valid is None else np.asarray(valid)
    close(np.asarray(out, np.float32)[real], np.asarray(expected)[real])
    for mine, reference in zip(grads, other, strict=True):
        close(np.asarray(mine, np.float32), np.asarray(reference, np.float32))


def close(found, expected):
    """Within what bfloat16 can tell: relative error of the whole array."""
    assert np.isfinite(found).all()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 1e-2, error


def test_a_bias_and_its_gradient_go_through_the_product():
    query, key, value, weights = arrays(49, 4, 32)
    bias = jax.random.normal(jax.random.key(9), (1, 4, 49, 49), jnp.float32)

    def total(q, k, v, bias):
        return (attend(q, k, v, bias=bias).astype(jnp.float32) * weights).sum()

    half = jax.jit(jax.grad(total, 3))(query, key, value, bias)
    whole = [x.astype(jnp.float32) for x in (query, key, value)]
    with jax.default_matmul_precision('highest'):
        exact = jax.jit(jax.grad(total, 3))(*whole, bias)
    assert float(jnp.abs(exact).max()) > 0
    close(np.asarray(half), np.asarray(exact))


def test_a_step_from_bfloat16_frozen_weights_keeps_their_bits():
    freeze = {'strategy': 'last:1', 'frozen_dtype': 'bfloat16'}
    phase_state, batch = entered('vit', 'bfloat16', freeze=freeze)
    kinds = {leaf.dtype for leaf in phase_state.frozen.params.values()}
    assert kinds == {jnp.dtype(jnp.bfloat16)}
    before = jax.device_get(phase_state.frozen.params)
    rates = np.full(len(phase_state.phase.trainable), 1e-2, np.float32)
    phase_state.state, _ = jax.jit(phase_state.step(), donate_argnums=0)(
        phase_state.state, phase_state.frozen, batch, rates
    )
    for path, leaf in phase_state.frozen.params.items():
        assert np.asarray(leaf).tobytes() == before[path].tobytes()
