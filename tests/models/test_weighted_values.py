"""The second half of attention has the numbers and the gradients of softmax and product."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from ftjax.models.layers.weighted_values import weighted_values


def plain(scores, value):
    return jnp.einsum('ntk,nkd->ntd', jax.nn.softmax(scores, axis=-1), value)


def given(scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((3, 5, 7)).astype(np.float32) * scale
    scores[1, :, 4:] = np.finfo(np.float32).min  # masked keys
    return scores, rng.standard_normal((3, 7, 4)).astype(np.float32)


@pytest.mark.parametrize('scale', [1.0, 30.0, 1e4])
def test_outputs_and_gradients_are_those_of_a_softmax(scale):
    scores, value = given(scale)
    out, pull = jax.vjp(weighted_values, scores, value)
    expected, plain_pull = jax.vjp(plain, scores, value)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    cotangent = np.random.default_rng(1).standard_normal(out.shape).astype(np.float32)
    for found, same in zip(pull(cotangent), plain_pull(cotangent), strict=True):
        np.testing.assert_allclose(found, same, atol=2e-6)


def test_gradients_are_those_of_differences():
    scores, value = given()
    jax.test_util.check_grads(weighted_values, (scores, value), order=1, modes=['rev'], rtol=2e-2)


def test_masked_keys_take_no_part():
    scores, value = given()
    out, pull = jax.vjp(weighted_values, scores, value)
    other = value.copy()
    other[1, 4:] = 1e6
    np.testing.assert_array_equal(out, weighted_values(scores, other))
    assert not np.any(pull(np.ones_like(out))[0][1, :, 4:])


def test_a_half_precision_value_gives_half_precision():
    scores, value = given()
    out, pull = jax.vjp(weighted_values, scores, value.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    assert [leaf.dtype for leaf in pull(out)] == [jnp.float32, jnp.bfloat16]
    np.testing.assert_allclose(out.astype(np.float32), plain(scores, value), atol=0.03)
