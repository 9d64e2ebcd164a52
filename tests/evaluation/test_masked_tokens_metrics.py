"""Metrics of hidden tokens, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.tasks import task_of
from ftjax.tasks.metrics_text import metrics_text


def batch(labels, shares, mask=None):
    """Logits that give the true token a probability, and the other of two the rest."""
    labels = np.array(labels)
    logits = np.zeros((*labels.shape, 2), np.float32)
    for place, share in zip(np.ndindex(labels.shape), np.ravel(shares), strict=True):
        logits[(*place, max(labels[place], 0))] = math.log(share / (1 - share))
    asked = labels >= 0 if mask is None else np.array(mask)
    return logits, {'labels': labels, 'mask': asked.astype(np.float32)}


def test_only_tokens_that_are_asked_for_count_whatever_the_batches():
    pairs = [
        batch([[0, -1, 1]], [[0.5, 0.9, 0.25]]),
        batch([[1], [1]], [[0.8], [0.9]], mask=[[1], [0]]),  # the second row is padding
    ]
    got = task_of('masked_tokens').measure(pairs)
    assert got['n'] == 3
    wanted = -(math.log(0.5) + math.log(0.25) + math.log(0.8)) / 3
    assert got['loss'] == pytest.approx(wanted, abs=1e-6)
    assert got['perplexity'] == pytest.approx(math.exp(wanted), abs=1e-5)
    assert got['accuracy'] == pytest.approx(2 / 3)  # of equal logits the first is taken
    entropy = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    assert got['unigram_entropy'] == pytest.approx(entropy)
    low, high = got['loss_interval']
    assert low <= got['loss'] <= high
    text = metrics_text(got)
    assert 'hidden tokens  3' in text and f'{wanted:.4f}' in text


def test_nothing_to_guess_and_outputs_that_are_no_numbers_are_errors():
    with pytest.raises(UserError, match='no hidden token'):
        task_of('masked_tokens').measure([batch([[-1]], [[0.5]])])
    logits, one = batch([[0]], [[0.5]])
    with pytest.raises(NonFinitePredictions):
        task_of('masked_tokens').measure([(logits * np.nan, one)])


def test_texts_without_a_token_to_hide_have_no_numbers_and_can_be_told():
    logits, one = batch([[-1], [-1]], [[0.5], [0.5]])
    got = task_of('masked_tokens').measure([(logits, {**one, 'index': np.arange(2)})])
    assert (got['n'], got['loss'], got['perplexity']) == (0, None, None)
    assert 'perplexity     undefined' in metrics_text(got)
    other = batch([[0]], [[0.5]])
    pairs = [(logits, {**one, 'index': np.arange(2)}), (other[0], {**other[1], 'index': [2]})]
    got = task_of('masked_tokens').measure(pairs)
    assert (got['n'], got['texts'], got['perplexity']) == (1, 3, pytest.approx(2))
