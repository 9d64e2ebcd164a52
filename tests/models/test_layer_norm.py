"""The written gradient of LayerNorm beside the one that JAX derives from Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.mlp import layer_norm
from ftjax.models.layers.norms import normalised


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('offset', [0.0, 30.0])
def test_values_and_gradients_are_those_of_flax(dtype, offset):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(offset, 2.0, (12, 32)), dtype)
    scale, bias = (jnp.asarray(rng.normal(size=32), jnp.float32) for _ in range(2))
    weights = jnp.asarray(rng.normal(size=(12, 32)), jnp.float32)
    flax = nn.LayerNorm(epsilon=1e-6, dtype=dtype, use_fast_variance=False)

    def theirs(x, scale, bias):
        out = flax.apply({'params': {'scale': scale, 'bias': bias}}, x)
        return (out.astype(jnp.float32) * weights).sum(), out

    def ours(x, scale, bias):
        out = normalised(x, scale, bias, 1e-6, jnp.dtype(dtype))
        return (out.astype(jnp.float32) * weights).sum(), out

    (_, out), grads = jax.value_and_grad(ours, (0, 1, 2), has_aux=True)(x, scale, bias)
    (_, expected), others = jax.value_and_grad(theirs, (0, 1, 2), has_aux=True)(x, scale, bias)
    assert out.dtype == expected.dtype
    bound = 2e-5 if dtype == 'float32' else 2e-2
    for mine, other in zip((out, *grads), (expected, *others), strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        mine, other = (np.asarray(value, np.float64) for value in (mine, other))
        assert np.linalg.norm(mine - other) <= bound * np.linalg.norm(other)


@pytest.mark.parametrize('backend', ['cpu', 'gpu', 'tpu'])
def test_the_layer_has_the_parameters_and_values_of_flax(monkeypatch, backend):
    x = jnp.asarray(np.random.default_rng(2).normal(3.0, 2.0, (2, 5, 16)), jnp.float32)
    flax = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)
    variables = flax.init(jax.random.key(0), x)
    expected = np.asarray(flax.apply(variables, x))
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    layer = layer_norm(None, 1e-5)
    assert jax.tree.structure(layer.init(jax.random.key(0), x)) == jax.tree.structure(variables)
    written = 'custom_vjp_call' in str(jax.make_jaxpr(layer.apply)(variables, x))
    assert written == (backend != 'tpu')
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=2e-6, atol=2e-6)
