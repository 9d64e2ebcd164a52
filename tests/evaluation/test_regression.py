"""Every regression number equals scikit-learn's and scipy's."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from ftjax.errors import UserError
from ftjax.evaluation.mistakes import largest_errors
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.tasks import evaluate, task_of
from ftjax.tasks.metrics_text import metrics_text


def test_equals_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=200).astype(np.float32)
    predictions = (targets + rng.normal(size=200)).astype(np.float32)[:, None]
    result = evaluate(predictions, targets, task='regression')
    flat = predictions[:, 0]
    assert result['mse'] == pytest.approx(sk.mean_squared_error(targets, flat), rel=1e-6)
    assert result['mae'] == pytest.approx(sk.mean_absolute_error(targets, flat), rel=1e-6)
    assert result['r2'] == pytest.approx(sk.r2_score(targets, flat), rel=1e-6)
    assert result['pearson'] == pytest.approx(stats.pearsonr(targets, flat)[0], rel=1e-6)
    assert result['spearman'] == pytest.approx(stats.spearmanr(targets, flat)[0], rel=1e-9)
    low, high = result['mse_interval']
    assert low < result['mse'] < high
    assert json.dumps(result, allow_nan=False)
    assert f'{result["r2"]:.6g}' in metrics_text(result)


def test_undefined_numbers_are_none():
    constant = evaluate(np.array([1.0, 2.0]), np.array([3.0, 3.0]), task='regression')
    assert constant['r2'] is constant['pearson'] is constant['spearman'] is None
    flat = evaluate(np.array([1.0, 1.0]), np.array([0.0, 3.0]), task='regression')
    assert flat['pearson'] is None and flat['r2'] == pytest.approx(sk.r2_score([0, 3], [1, 1]))
    single = evaluate(np.array([1.0]), np.array([3.0]), task='regression')
    assert single['mse'] == 4 and single['mse_interval'] is None
    assert 'undefined' in metrics_text(single)


def test_errors_name_the_fault():
    with pytest.raises(NonFinitePredictions, match='1 of 2'):
        evaluate(np.array([1.0, np.nan]), np.array([1.0, 2.0]), task='regression')
    with pytest.raises(UserError, match='target is NaN'):
        evaluate(np.array([1.0, 2.0]), np.array([1.0, np.nan]), task='regression')
    with pytest.raises(UserError, match='3 predictions for 2 targets'):
        evaluate(np.zeros(3), np.zeros(2), task='regression')
    with pytest.raises(UserError, match=r'shape \(examples,\)'):
        evaluate(np.zeros((3, 2)), np.zeros(3), task='regression')


def test_validation_in_padded_batches_equals_the_metrics_of_the_whole():
    rng = np.random.default_rng(1)
    targets = rng.normal(size=10).astype(np.float32)
    outputs = (targets + rng.normal(size=10)).astype(np.float32)[:, None]
    pairs = []
    for start in (0, 6):
        rows = np.resize(np.arange(start, min(start + 6, 10)), 6)
        mask = (np.arange(6) < min(6, 10 - start)).astype(np.float32)
        pairs.append((outputs[rows], {'labels': targets[rows], 'mask': mask}))
    want = evaluate(outputs, targets, task='regression')
    got = task_of('regression').validate(pairs)
    for name in ('mse', 'pearson', 'spearman'):
        assert got[name] == pytest.approx(want[name], rel=1e-6)
    assert got['score'] == -got['mse']
    still = [(np.ones((2, 1), 'f4'), {'labels': np.zeros(2, 'f4'), 'mask': np.ones(2)})]
    assert set(task_of('regression').validate(still)) == {'loss', 'mse', 'score'}


def test_largest_errors_come_first():
    rows = largest_errors(np.array([1.0, 5.0, 2.0]), np.array([1.5, 1.0, 4.0]), list('abc'), 2)
    assert [(row['id'], row['error']) for row in rows] == [('b', 4.0), ('c', -2.0)]
