"""Scores in chunks are those of whole logits, and texts of a row do not see each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_decoder import decoder, initial

from ftjax.models.adapters.adapted import adapted
from ftjax.models.adapters.lora import LoRA
from ftjax.models.layers import token_scores as module
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 12, (3, 12)).astype(np.int32)
TARGETS = np.where(RNG.random((3, 12)) < 0.7, RNG.integers(0, 12, (3, 12)), -1).astype(np.int32)
REAL = np.arange(12) < np.array([12, 7, 3])[:, None]
INPUTS = {'input_ids': IDS, 'attention_mask': REAL.astype(np.int32)}
ASKED = (TARGETS >= 0) & REAL


def loss_by_logits(net, variables):
    """The cross-entropy that everybody writes, from whole logits."""
    logs = jax.nn.log_softmax(net.apply(variables, INPUTS))
    each = -jnp.take_along_axis(logs, jnp.maximum(TARGETS, 0)[..., None], axis=-1)[..., 0]
    return (each * ASKED).sum(), -(logs.mean(-1) * ASKED).sum()


def loss_by_scores(net, variables):
    scores = net.apply(variables, {**INPUTS, 'targets': TARGETS})
    return tuple((scores[..., column] * ASKED).sum() for column in (0, 1))


NETWORKS = {
    'tied': decoder(depth=1, tied=True),
    'untied': decoder(depth=1, tied=False),
    'gpt2': build('gpt2', {'vocab_size': 12, 'width': 16, 'depth': 1, 'heads': 2, 'head': 'lm'}),
    'capped': build(
        'gemma',
        {'vocab_size': 12, 'width': 16, 'depth': 1, 'heads': 2, 'head_dim': 8, 'mlp_dim': 8}
        | {'head': 'lm', 'logit_cap': 2.0},
    ),
    'adapted': adapted(decoder(depth=1), [LoRA(rank=2, targets='.*dense')]),
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ('gpt2', 'capped', 'adapted')]


@pytest.mark.parametrize('name', ['tied', 'untied', *SLOW])
def test_chunks_give_the_losses_and_gradients_of_whole_logits(name, monkeypatch):
    net = NETWORKS[name]
    variables = jax.tree.map(lambda x: jnp.asarray(x) + 0.05, random_variables(net, 0))
    whole, slopes = jax.jit(jax.value_and_grad(lambda v: sum(loss_by_logits(net, v))))(variables)
    # Three positions of three texts at once.
    monkeypatch.setattr(module.token_scores, '__defaults__', (9,))
    found, got = jax.jit(jax.value_and_grad(lambda v: sum(loss_by_scores(net, v))))(variables)
    assert found == pytest.approx(float(whole), rel=1e-6)
    for one, other in zip(jax.tree.leaves(slopes), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_no_array_of_all_logits_is_ever_made(monkeypatch):
    net = decoder(vocab_size=4096)
    variables = random_variables(net, 0)
    inputs = {'input_ids': np.zeros((4, 64), np.int32), 'targets': np.zeros((4, 64), np.int32)}

    def temporaries(chunk):
        monkeypatch.setattr(module.token_scores, '__defaults__', (chunk,))

        def loss(variables):
            return net.apply(variables, inputs)[..., 0].sum()

        compiled = jax.jit(jax.grad(loss)).lower(variables).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 4 * 64 * 4096 * 4
    assert temporaries(1024) > logits  # all at once
    assert temporaries(32) < logits


def test_a_guess_is_right_where_no_token_is_more_probable():
    net = NETWORKS['untied']
    variables = initial(net)
    apply = jax.jit(net.apply)
    scores = apply(variables, {**INPUTS, 'targets': np.maximum(TARGETS, 0)})
    guesses = apply(variables, INPUTS).argmax(-1)
    np.testing.assert_array_equal(scores[..., 2] > 0, guesses == np.maximum(TARGETS, 0))
    assert 0 < (scores[..., 2] * ASKED).sum() < ASKED.sum()


def test_of_equal_logits_the_first_is_the_guess():
    logits = np.array([[[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]]], np.float32)
    right = [
        module.scores(logits, np.full((1, 2), target))[0, :, 2].tolist() for target in range(3)
    ]
    assert right == [[0, 1], [1, 0], [0, 0]]


def packed_and_alone(net, lengths=(5, 4, 3)):
    """Logits of texts in one row, and of each alone."""
    variables, apply = initial(net), jax.jit(net.apply)
    row, starts = IDS[:1], np.cumsum([0, *lengths])
    segments = np.repeat(np.arange(1, len(lengths) + 1), lengths)[None].astype(np.int32)
    together = apply(variables, {'input_ids': row, 'segments': segments})[0]
    for begin, end in itertools.pairwise(starts):
        alone = np.arange(row.shape[1]) < end - begin
        ids = np.roll(row, -begin, axis=1)
        yield (
            together[begin:end],
            apply(variables, {'input_ids': ids, 'attention_mask': alone[None]})[0, : end - begin],
        )


@pytest.mark.parametrize(
    'name', ['window', SLOW[0], pytest.param('untied', marks=pytest.mark.slow)]
)
def test_texts_of_a_row_answer_as_if_each_were_alone(name):
    net = decoder(depth=1, window=3) if name == 'window' else NETWORKS[name]
    for together, alone in packed_and_alone(net):
        np.testing.assert_allclose(together, alone, atol=3e-5)


def test_what_a_text_says_reaches_no_other_text_of_its_row():
    net, segments = NETWORKS['untied'], np.repeat([[1, 2]], 6, axis=1).astype(np.int32)
    variables = initial(net)
    other = IDS[:1].copy()
    other[:, :6] = (other[:, :6] + 1) % 12
    apply = jax.jit(net.apply)
    one, two = (apply(variables, {'input_ids': x, 'segments': segments}) for x in (IDS[:1], other))
    np.testing.assert_array_equal(one[:, 6:], two[:, 6:])
    assert np.abs(one - two)[:, :6].max() > 1e-3


def test_the_written_gradient_is_that_of_the_formulas():
    rng = np.random.default_rng(0)
    logits = 4 * rng.standard_normal((2, 3, 7)).astype(np.float32)
    targets = np.array([[0, 6, 2], [5, 1, -1]])
    weights = rng.standard_normal((2, 3, 3)).astype(np.float32) * (targets >= 0)[..., None]

    def by_formulas(logits):
        logs = jax.nn.log_softmax(logits)
        nats = -jnp.take_along_axis(logs, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
        return (weights[..., 0] * nats - weights[..., 1] * logs.mean(-1)).sum()

    found = jax.grad(lambda x: (weights * module.scores(x, targets)).sum())(logits)
    np.testing.assert_allclose(found, jax.grad(by_formulas)(logits), rtol=1e-5, atol=1e-6)
    assert np.array_equal(found[1, 2], np.zeros(7))
