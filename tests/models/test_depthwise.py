"""The depthwise convolution by shifts against XLA's grouped one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.depthwise import DepthwiseConv, by_shifts, grouped


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


@pytest.mark.parametrize('even', [False, True])
@pytest.mark.parametrize('size', [3, 5])
def test_every_other_place_is_the_convolution_at_stride_two(size, even):
    """As EfficientNet shrinks an image: the first place kept is where the padding is."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 7, 8, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, 1, 3)), jnp.float32)
    side, start = size // 2, 0 if even else 1
    pad = (side, side) if even else (side - 1, side)
    wanted = jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(2, 2),
        padding=(pad, pad),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=3,
    )
    network = DepthwiseConv(size, use_bias=False)
    found = network.apply({'params': {'kernel': kernel}}, x)[:, start::2, start::2]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
