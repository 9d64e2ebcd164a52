"""Metrics of three tokens, worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from ftjax.tasks import LossOptions, task_of
from ftjax.tasks.metrics_text import metrics_text

TASK = task_of('causal_lm')


def answered(shares, bytes_, mask=None):
    """Scores of texts (B, T) whose tokens have these probabilities, and their batch."""
    shares, bytes_ = np.array(shares), np.array(bytes_)
    nats = -np.log(shares)
    scores = np.stack([nats, 2 * nats, shares > 0.5], axis=-1).astype(np.float32)
    labels = np.stack([np.ones(bytes_.shape), bytes_], axis=-1).astype(np.int32)
    counts = np.ones(shares.shape) if mask is None else np.array(mask, float)
    return scores, {'labels': labels, 'mask': counts}


def test_three_tokens_of_two_texts():
    pairs = [
        answered([[0.5, 0.25, 0.01]], [[3, 1, 9]], [[1, 1, 0]]),  # the third does not count
        answered(
            [[0.8, 0.9, 0.9], [0.1, 0.1, 0.1]], [[4, 0, 0], [9, 9, 9]], [[1, 0, 0], [0, 0, 0]]
        ),
    ]
    got = TASK.measure(pairs)
    nll = -(math.log(0.5) + math.log(0.25) + math.log(0.8)) / 3
    assert got['n'] == 3 and got['texts'] == 2 and got['bytes'] == 8
    assert got['nll'] == pytest.approx(nll)
    assert got['perplexity'] == pytest.approx(math.exp(nll))  # not the mean of exp(.41), exp(1.04)
    assert got['bits_per_byte'] == pytest.approx(3 * nll / math.log(2) / 8)
    assert got['accuracy'] == pytest.approx(1 / 3)
    low, high = got['nll_interval']
    # Two texts were drawn, never three tokens: Student's t on what is left without each.
    first, second = -(math.log(0.5) + math.log(0.25)) / 2, -math.log(0.8)
    reach = stats.t.ppf(0.975, 1) * (first - second) / 2
    assert low == 0.0 > nll - reach and high == pytest.approx(nll + reach)
    said = metrics_text(got)
    assert '3 of 2 texts' in said and f'{nll:.4f}' in said


def test_the_loss_is_a_sum_over_tokens_that_count():
    outputs, batch = answered([[0.5, 0.25, 0.8]], [[1, 1, 1]], [[1, 1, 0]])
    total, weight = TASK.loss(outputs, batch)
    assert weight == 2 and total == pytest.approx(-math.log(0.5) - math.log(0.25))
    total, weight = TASK.loss(outputs, batch, LossOptions(label_smoothing=0.1))
    assert total == pytest.approx(1.1 * -(math.log(0.5) + math.log(0.25)))


def test_texts_without_bytes_have_no_bits_a_byte():
    got = TASK.measure([answered([[0.5], [0.5]], [[0], [0]])])
    assert got['bits_per_byte'] is None and 'bits_per_byte_interval' not in got
    assert 'bits' not in metrics_text(got)


def test_where_no_token_counts_nothing_is_defined():
    scores, batch = answered([[0.5], [0.5]], [[1], [1]], [[0], [0]])
    got = TASK.measure([(scores, {**batch, 'index': np.arange(2)})])
    assert got['n'] == 0 and got['texts'] == 2
    assert all(got[name] is None for name in ('nll', 'perplexity', 'bits_per_byte', 'accuracy'))
    assert metrics_text(got) == 'tokens         0 of 2 texts'


def test_the_worst_text_comes_first():
    found = TASK.collected([answered([[0.5, 0.5], [0.1, 0.1]], [[1, 1], [1, 1]])])
    worst = TASK.mistakes(found, ['x', 'y'], ())
    assert [row['id'] for row in worst] == ['y', 'x'] and worst[0]['asked'] == 2
    assert TASK.ratio(found).value == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)
