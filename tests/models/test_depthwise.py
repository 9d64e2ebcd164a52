"""The depthwise convolution by shifts against XLA's grouped one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.depthwise import by_shifts, grouped


@pytest.mark.parametrize(('shape', 'size'), [((2, 9, 6, 5), 7), ((1, 3, 4, 2), 3)])
def test_value_and_gradients_equal_the_grouped_convolution(shape, size):
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (size, size, 1, shape[-1]))
    weight = jax.random.normal(jax.random.key(2), shape)

    def loss(convolve):
        return jax.value_and_grad(lambda x, k: (convolve(x, k) * weight).sum(), (0, 1))

    np.testing.assert_allclose(by_shifts(x, kernel), grouped(x, kernel), rtol=1e-5, atol=1e-5)
    ours, theirs = jax.jit(loss(by_shifts))(x, kernel), jax.jit(loss(grouped))(x, kernel)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_half_precision_accumulates_in_float32():
    x = jnp.ones((1, 7, 7, 1), jnp.bfloat16)
    kernel = jnp.full((7, 7, 1, 1), 1 + 2**-7, jnp.bfloat16)
    centre = by_shifts(x, kernel)[0, 3, 3, 0]
    assert centre.dtype == jnp.bfloat16
    assert float(centre) == float(jnp.bfloat16(49 * (1 + 2**-7)))
