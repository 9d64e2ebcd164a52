"""Tables over a vocabulary in slices: rows, scores and gradients are those of whole tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.models.layers.sliced_scores import sliced_scores
from ftjax.models.layers.token_scores import scores
from ftjax.models.layers.vocabulary_slices import Slices, rows_in_slices

RNG = np.random.default_rng(0)


def slices(axis, groups):
    return Slices(axis, groups, lambda x: x, lambda x: x, devices=1)


def close(one, other, **bounds):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **bounds), one, other)


# 37 and 50 are no multiple of eight slices; 8 entries of four devices are two of each.
@pytest.mark.parametrize('vocabulary,groups', [(64, 4), (50, 1), (37, 1), (8, 4), (3, 1)])
def test_rows_and_their_gradient_are_those_of_the_table(vocabulary, groups):
    table = RNG.standard_normal((vocabulary, 5)).astype(np.float32)
    ids = RNG.integers(0, vocabulary, (3, 7))
    weights = RNG.standard_normal((3, 7, 5)).astype(np.float32)
    by_slices = rows_in_slices(jnp.asarray(table), ids, slices(0, groups))
    np.testing.assert_array_equal(by_slices, table[ids])

    def total(rows):
        return lambda table: (weights * rows(table)).sum()

    found = jax.grad(total(lambda table: rows_in_slices(table, ids, slices(0, groups))))(table)
    close(found, jax.grad(total(lambda table: jnp.take(table, ids, axis=0)))(table), atol=1e-6)


def test_an_id_beyond_the_table_is_no_row():
    rows = rows_in_slices(jnp.ones((6, 2)), jnp.array([5, 6]), slices(0, 2))
    assert np.array_equal(np.isnan(rows).all(1), [False, True])


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('vocabulary,groups', [(64, 4), (50, 1), (37, 1), (8, 4)])
def test_scores_and_their_gradients_are_those_of_whole_logits(vocabulary, groups, axis):
    kernel = RNG.standard_normal((6, vocabulary)).astype(np.float32)
    table = kernel if axis else kernel.T
    hidden = RNG.standard_normal((2, 9, 6)).astype(np.float32)
    targets = RNG.integers(-1, vocabulary, (2, 9))
    # Of targets below 0 the scores mean nothing.
    weights = RNG.standard_normal((2, 9, 2)).astype(np.float32) * (targets >= 0)[..., None]

    def product(x, some):
        return 3 * jnp.tanh(x @ (some if axis else some.T))

    def by_slices(table, hidden):
        return sliced_scores(product, table, hidden, targets, slices(axis, groups))

    def by_logits(table, hidden):
        return scores(product(hidden, table), targets)

    asked = targets >= 0
    found, expected = by_slices(table, hidden), by_logits(table, hidden)
    close(found[asked], expected[asked], rtol=1e-5)

    def slopes(run):
        return jax.jit(jax.grad(lambda *x: (weights * run(*x)[..., :2]).sum(), (0, 1)))(
            table, hidden
        )

    close(slopes(by_slices), slopes(by_logits), rtol=1e-4, atol=1e-5)


def test_of_equal_logits_the_first_of_the_vocabulary_is_the_guess():
    # Slices take entries 0, 4, 8, 12 of four devices first: the order of slices is another.
    kernel = jnp.zeros((1, 16)).at[0, jnp.array([6, 9])].set(1.0)
    hidden = jnp.ones((1, 2, 1))
    found = [
        sliced_scores(jnp.matmul, kernel, hidden, jnp.full((1, 2), t), slices(1, 4))[0, 0, 2]
        for t in (6, 9)
    ]
    assert found == [1, 0]
