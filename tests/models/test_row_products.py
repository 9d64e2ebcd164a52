"""Dense layers on rows: the numbers of flax, and gradients without transposed activations."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.row_products import on_rows, row_products


class Perceptron(nn.Module):
    """Two dense layers of flax."""

    rows: bool

    @nn.compact
    def __call__(self, x):
        with row_products() if self.rows else contextlib.nullcontext():
            return nn.Dense(5, use_bias=False)(nn.silu(nn.Dense(16, name='up')(x)))


def given(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return x, Perceptron(rows=False).init(jax.random.key(0), x)


def gradients(rows):
    return jax.jit(
        jax.value_and_grad(lambda v, x: jnp.square(Perceptron(rows).apply(v, x)).mean(), (0, 1))
    )


@pytest.mark.parametrize('shape', [(3, 8), (2, 3, 8), (2, 3, 4, 8)])
def test_outputs_and_gradients_are_those_of_flax(shape):
    x, variables = given(shape)
    loss, found = gradients(rows=True)(variables, x)
    same, expected = gradients(rows=False)(variables, x)
    assert loss == same
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected
    )


def test_no_activation_is_transposed_in_a_gradient():
    x, variables = given((4, 6, 8))

    def transposed(rows):
        text = gradients(rows).lower(variables, x).compile().as_text()
        return [line for line in text.splitlines() if ' transpose(' in line and '6]' in line]

    # The form of flax has some with this compiler; once it has none, this room is not needed.
    assert transposed(rows=False)
    assert not transposed(rows=True)


def test_a_layer_of_ones_own_keeps_its_inputs():
    """Only flax's own layer is known to act on the last axis alone."""

    class Own(nn.Dense):
        @nn.compact
        def __call__(self, inputs):
            return super().__call__(inputs) * inputs.shape[1]

    class Around(nn.Module):
        @nn.compact
        def __call__(self, x):
            with row_products():
                return Own(5)(x)

    x, _ = given((2, 3, 8))
    own = Around()
    variables = own.init(jax.random.key(0), x)
    kernel = variables['params']['Own_0']['kernel']
    np.testing.assert_allclose(own.apply(variables, x), 3 * (x @ kernel), rtol=1e-5, atol=1e-6)


def test_a_vector_stays_as_it_is():
    assert on_rows(lambda x: x[:2], jnp.arange(3)).shape == (2,)
