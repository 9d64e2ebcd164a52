"""What leaves a stage is the same, and the readers of its gradient do not sum it anew."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.stage_boundary import written

BLOCKS = 8


def most_operands(boundary):
    """Of any fusion in the gradient of a stack of residual blocks."""

    def stack(weights, x):
        for weight in weights:
            y = x - x.mean(-1, keepdims=True)
            x = boundary({'hidden': x + jnp.tanh(y @ weight)})['hidden']
        return (x**2).sum()

    weights = [jnp.eye(8) for _ in range(BLOCKS)]
    text = jax.jit(jax.grad(stack)).lower(weights, jnp.ones((4, 3, 8))).compile().as_text()
    fusions = re.findall(r' fusion\((.*?)\), kind', text)
    return max(fusion.count('%') for fusion in fusions)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='how the compiler for CPUs fuses')
def test_no_fusion_reaches_through_several_blocks():
    assert most_operands(written) < BLOCKS < most_operands(lambda state: state)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_values_and_gradients_stay(dtype):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4)).astype(dtype)
    state = {'hidden': x, 'mask': jnp.array([[True, False, True]] * 2), 'pooled': x[:, 0]}
    out = jax.jit(written)(state)
    assert jax.tree.structure(out) == jax.tree.structure(state)
    for key, value in state.items():
        assert out[key].dtype == value.dtype
        np.testing.assert_array_equal(out[key], value)
    grad = jax.grad(lambda x: (written({'x': x})['x'] * x).astype('float32').sum())(x)
    np.testing.assert_array_equal(grad, 2 * x)
    each = jax.vmap(written)(jnp.stack([x, x]))
    np.testing.assert_array_equal(each, jnp.stack([x, x]))
