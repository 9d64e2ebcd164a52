"""GroupNorm from sums a channel is Flax's, in value and gradient, with the same parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ftjax.models.layers.group_norm import GroupNorm


def test_it_is_flaxs():
    ours, theirs = GroupNorm(4), nn.GroupNorm(4, epsilon=1e-5)
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 6, 12))
    made = theirs.init(jax.random.key(1), x)
    params = jax.tree.map(lambda leaf: leaf + jnp.linspace(0, 1, leaf.size), made)
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, params
    )

    def both(norm):
        def loss(params, x):
            y = norm.apply(params, x)
            return jnp.sum(y**3), y

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    (_, mine), my_grads = both(ours)
    (_, other), their_grads = both(theirs)
    np.testing.assert_allclose(mine, other, atol=2e-5)
    for one, two in zip(jax.tree.leaves(my_grads), jax.tree.leaves(their_grads), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-4)


def test_half_precision_has_its_statistics_in_float32():
    x = (100 + jax.random.normal(jax.random.key(0), (1, 32, 32, 8))).astype(jnp.bfloat16)
    norm = GroupNorm(2, dtype=jnp.bfloat16)
    y = norm.apply(norm.init(jax.random.key(1), x), x)
    assert y.dtype == jnp.bfloat16
    want = nn.GroupNorm(2, epsilon=1e-5).apply(norm.init(jax.random.key(1), x), x.astype('float32'))
    np.testing.assert_allclose(y.astype('float32'), want, atol=0.05)
