"""Means and their t intervals against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.statistics.comparison import compare_to_reference
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.errors import UserError


@pytest.mark.parametrize('confidence', [0.9, 0.95])
def test_mean_interval_equals_scipy(confidence):
    values = np.random.default_rng(0).normal(0.8, 0.02, 5)
    interval = mean_interval(values, confidence)
    expected = stats.t.interval(confidence, 4, values.mean(), stats.sem(values))
    np.testing.assert_allclose((interval.low, interval.high), expected)
    assert interval.estimate == pytest.approx(values.mean()) and interval.n == 5


def test_three_seeds_by_hand():
    # t(.975, 2) = 4.302653, standard deviation .02, standard error .02 / sqrt(3).
    interval = mean_interval([0.80, 0.82, 0.84])
    assert interval.high - 0.82 == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-6)
    assert mean_interval([0.8]).low is None
    assert 'no interval' in str(mean_interval([0.8]))


def test_a_nan_is_refused_rather_than_dropped():
    with pytest.raises(UserError, match='mark its run as diverged'):
        mean_interval([0.5, float('nan')])
    with pytest.raises(UserError, match='no finished run'):
        mean_interval([])


@pytest.mark.parametrize('n', [3, 5])
def test_t_covers_what_it_promises_and_a_bootstrap_does_not(n):
    rng = np.random.default_rng(1)
    tables = rng.normal(0, 1, (600, n))
    found = [mean_interval(values) for values in tables]
    assert np.mean([one.low <= 0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.025)
    means = np.array([values[rng.integers(0, n, (300, n))].mean(1) for values in tables])
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert ((low <= 0) & (high >= 0)).mean() < 0.89


def test_folds_widen_intervals_as_nadeau_and_bengio_say():
    values, other = [0.80, 0.84, 0.79, 0.83, 0.81], [0.78, 0.80, 0.79, 0.80, 0.77]
    interval = mean_interval(values, overlap=1 / 4)
    spread = np.std(values, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    half = stats.t.ppf(0.975, 4) * spread
    assert interval.estimate == pytest.approx(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx(
        (np.mean(values) - half, np.mean(values) + half)
    )
    pair = {'arm': values, 'other': other}
    found = compare_to_reference(
        pair, 'other', higher_is_better=True, margin=0, overlap=1 / 4, draws=200_000
    )['arm']
    expected = mean_interval(np.subtract(values, other), overlap=1 / 4)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.01 * width)
    assert found.high == pytest.approx(expected.high, abs=0.01 * width)
