import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ftjax.models.layers.convolution import GROUP, conv3x3, convolve

NHWC = lax.conv_dimension_numbers((1, 1, 1, 1), (1, 1, 1, 1), ('NHWC', 'HWIO', 'NHWC'))


@pytest.mark.parametrize('examples', [1, GROUP, 2 * GROUP + 3])
@pytest.mark.parametrize('stride', [1, 2])
def test_values_and_gradients_are_those_of_the_plain_convolution(examples, stride):
    inputs = jax.random.normal(jax.random.key(0), (examples, 6, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))

    def run(convolution, inputs, kernel):
        out = convolution(
            inputs, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=NHWC
        )
        return jnp.sin(out).sum(), out

    found, plain = (
        jax.value_and_grad(run, argnums=(1, 2), has_aux=True)(each, inputs, kernel)
        for each in (convolve, lax.conv_general_dilated)
    )
    np.testing.assert_array_equal(found[0][1], plain[0][1])
    for mine, other in zip(found[1], plain[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


def test_a_frozen_kernel_costs_no_gradient():
    layer = conv3x3(4, 1, 'conv', 'float32')
    inputs = jnp.ones((2 * GROUP, 8, 8, 4))
    params = layer.init(jax.random.key(0), inputs)

    def flops(gradient, *arguments):
        return jax.jit(gradient).lower(*arguments).compile().cost_analysis()['flops']

    forward = flops(layer.apply, params, inputs)
    through = flops(jax.grad(lambda x: (layer.apply(params, x) ** 2).sum()), inputs)
    # Forward and the gradient to the inputs: a kernel's gradient would be the third.
    assert forward < through < 2.3 * forward


def read_by_transpositions(convolution):
    """Most operands that any transposition reads in the gradient of two layers."""

    def layers(kernels, inputs):
        for kernel in kernels:
            centred = inputs - inputs.mean((1, 2), keepdims=True)
            scaled = jnp.maximum(centred * 1.1 + 0.1, 0)
            inputs = inputs + convolution(
                scaled, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=NHWC
            )
        return (inputs**2).sum()

    kernels = [jnp.ones((3, 3, 8, 8))] * 2
    images = jnp.ones((GROUP, 8, 8, 8))
    text = jax.jit(jax.grad(layers)).lower(kernels, images).compile().as_text()
    found = re.findall(
        r'%transpose_\w*fusion[.\d]* = f32\[8,8,8,8\]\S* fusion\((.*?)\), kind', text
    )
    return max(operands.count('%') for operands in found)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='how the compiler for CPUs fuses')
def test_no_norm_is_computed_again_while_operands_are_transposed():
    assert read_by_transpositions(convolve) == 1
    assert read_by_transpositions(lax.conv_general_dilated) > 1
