"""Embeddings of texts that are several windows: the mean over all their tokens."""

import jax.numpy as jnp
import numpy as np

from ftjax.evaluation.predict import embedding, mean_over_positions


def test_padding_of_windows_has_no_part():
    hidden = jnp.arange(12.0).reshape(1, 2, 3, 2)
    mask = np.array([[[1, 1, 0], [1, 0, 0]]])
    got = embedding({'hidden': hidden}, {'attention_mask': mask})
    np.testing.assert_allclose(got, [np.array([[0, 1], [2, 3], [6, 7]]).mean(axis=0)])
    # Features of the audit are the same mean, of what numpy holds.
    np.testing.assert_array_equal(mean_over_positions(np.asarray(hidden), mask), got)
    # Of texts that were pooled there is one vector each: the mean of these.
    pooled = embedding({'hidden': hidden[:, :, 0]}, {'attention_mask': mask})
    np.testing.assert_allclose(pooled, [[3, 4]])
