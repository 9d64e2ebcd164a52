"""Patches as a matrix product are the convolution they stand for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.patches import PatchProjection


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_values_gradients_and_parameters_are_those_of_the_convolution(dtype):
    images = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))
    ours = PatchProjection(5, (4, 2), dtype=dtype)
    conv = nn.Conv(5, (4, 2), strides=(4, 2), padding='VALID', dtype=dtype)
    variables = conv.init(jax.random.key(1), images)
    for one, two in zip(
        *map(jax.tree.leaves, (variables, ours.init(jax.random.key(1), images))), strict=True
    ):
        np.testing.assert_array_equal(one, two)

    def loss(variables, module):
        return jnp.sum(jnp.sin(module.apply(variables, images)).astype(jnp.float32))

    got, want = (jax.grad(loss)(variables, module) for module in (ours, conv))
    outputs = ours.apply(variables, images), conv.apply(variables, images)
    assert outputs[0].dtype == outputs[1].dtype and outputs[0].shape == (2, 2, 6, 5)
    near = {'float32': 1e-5, 'bfloat16': 3e-2}[dtype]
    np.testing.assert_allclose(*(np.float32(x) for x in outputs), rtol=near, atol=near)
    for one, two in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(one, two, rtol=near, atol=10 * near)


def test_without_bias_there_is_none():
    module = PatchProjection(5, (2, 2), use_bias=False)
    assert set(module.init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))['params']) == {'kernel'}
