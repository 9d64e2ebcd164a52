"""BERT with a head that guesses tokens: tied to the embeddings, gone where there are classes."""

from functools import partial

import jax
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.leaves import flatten
from ftjax.models.registry import build, options_of
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own

TINY = {'vocab_size': 30, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'max_positions': 12}
LM = {**TINY, 'head': 'lm', 'num_classes': 0, 'pool': 'mean'}
INPUTS = {'input_ids': np.array([[5, 6, 7, 1]], np.int32)}


def test_logits_are_products_with_the_table_of_words():
    network = build('bert', LM)
    variables = random_variables(network)
    assert network.stages == ('embed', 'block_00', 'head') and 'head' not in variables['params']
    assert build(*options_of(network)) == network and network.is_lm
    logits, seen = jax.jit(partial(network.apply, taps=('block_00',)))(variables, INPUTS)
    table = variables['params']['embed']['word_embed']['embedding']
    assert (logits.shape, logits.dtype) == ((1, 4, 30), np.float32)
    np.testing.assert_allclose(logits, seen['block_00']['hidden'] @ table.T, atol=1e-5)
    again = network.apply(variables, seen['block_00'], start='head')
    np.testing.assert_allclose(again, logits, atol=1e-6)


@pytest.mark.slow
def test_its_weights_open_with_classes_and_without(tmp_path):
    network = build('bert', LM)
    variables = random_variables(network)
    half = jax.tree.map(lambda leaf: leaf.astype(np.float16), variables)
    save_own(tmp_path, network, half, None)
    again = load_pretrained(str(tmp_path))
    assert again.network == network and again.report.head == 'kept'
    found = load_pretrained(str(tmp_path), num_classes=3, class_names=('a', 'b', 'c'))
    assert found.report.head == 'new' and not found.network.is_lm
    assert found.network.stages == ('embed', 'block_00', 'pool', 'head')
    leaves = flatten(found.variables)
    for key, leaf in flatten(half).items():
        assert leaves[key].dtype == np.float32
        np.testing.assert_array_equal(leaves[key], np.asarray(leaf, np.float32))


def test_what_cannot_be_tied_is_refused():
    with pytest.raises(UserError, match='as wide as'):
        build('electra', {**LM, 'embedding_size': 4})
    with pytest.raises(UserError, match='known: lm, none'):
        build('bert', {**LM, 'head': 'ml'})
