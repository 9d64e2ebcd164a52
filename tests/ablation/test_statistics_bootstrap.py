"""Aggregates equal rliable's published numbers, scipy and an independent bootstrap."""

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.statistics import bootstrap as sb
from ftjax.errors import UserError

# The matrices and values of rliable's own tests (tests/rliable/metrics_test.py).
X = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
Y = np.array([[1, 1], [2, 2], [3, 3]])


def test_published_rliable_values():
    for scores, value in ((X, 1.5), (Y, 2.0)):
        for statistic in (sb.mean, sb.iqm):
            assert sb.aggregate(scores, statistic).estimate == value


@pytest.mark.parametrize('runs,tasks', [(3, 1), (5, 1), (10, 1), (3, 7), (5, 26)])
def test_iqm_is_the_trimmed_mean(runs, tasks):
    scores = np.random.default_rng(runs).lognormal(size=(runs, tasks))
    expected = stats.trim_mean(scores, 0.25, axis=None)
    assert sb.aggregate(scores, sb.iqm).estimate == pytest.approx(expected)


def test_bootstrap_equals_an_independent_one():
    scores = np.random.default_rng(1).normal(0.6, 0.1, (10, 6)) + np.linspace(0, 0.3, 6)
    found = sb.aggregate(scores, sb.iqm, resamples=20_000)
    # The reference recipe, one resample at a time: an own draw of runs for every task.
    random = np.random.RandomState(7)
    drawn = [
        stats.trim_mean(scores[random.choice(10, (10, 6)), np.arange(6)], 0.25, axis=None)
        for _ in range(6000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)


def test_folds_widen_as_the_variance_of_a_mean_does():
    # Scores of folds share a part: with 3 folds their correlation is 1/3, the overlap 1/2.
    rng, overlap, inside = np.random.default_rng(5), 1 / 2, {0.0: 0, 0.5: 0}
    for _ in range(200):
        scores = rng.normal(0, np.sqrt(1 / 3)) + rng.normal(0, np.sqrt(2 / 3), (15, 1))
        for told in inside:
            found = sb.aggregate(scores, sb.iqm, resamples=200, overlap=told)
            inside[told] += found.low <= 0 <= found.high
    assert inside[0.0] < 120 and 175 < inside[0.5] <= 200
    plain, wide = (sb.aggregate(scores, sb.mean, overlap=told) for told in (0.0, overlap))
    ratio = np.sqrt(1 + 15 * overlap)
    assert wide.high - wide.low == pytest.approx(ratio * (plain.high - plain.low))
    own, folds = (sb.performance_profile(scores, [0.0], overlap=told) for told in (0.0, overlap))
    (low,), (high,) = folds['low'], folds['high']
    assert 0 <= low < own['low'][0] <= own['high'][0] <= high <= 1


def test_strata_are_kept_apart():
    # Tasks that differ hugely, runs that do not: resampling across tasks would spread.
    scores = np.array([[0.1 * run, 100 + 0.1 * run] for run in range(8)])
    found = sb.aggregate(scores, sb.mean)
    assert 0 < found.high - found.low < 0.5


def test_one_task_agrees_with_scipys_bootstrap():
    values = np.random.default_rng(2).normal(size=30)
    found = sb.aggregate(values[:, None], sb.mean, resamples=20_000)
    expected = stats.bootstrap(
        (values,), np.mean, method='percentile', n_resamples=20_000, rng=3
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.01)


def test_ragged_tasks_are_allowed():
    found = sb.aggregate([[0.1, 0.2], [0.3, 0.4, 0.5]], sb.mean)
    assert found.estimate == pytest.approx((0.15 + 0.4) / 2) and found.n == 5
    with pytest.raises(UserError, match=r'\(runs, tasks\)'):
        sb.aggregate(np.zeros(3))


def test_few_runs_have_no_interval():
    scores = np.random.default_rng(0).uniform(size=(8, 2))
    assert sb.aggregate(scores).low is not None
    assert sb.aggregate([scores[:, 0], scores[:7, 1]]).low is None
    assert {*sb.performance_profile(scores[:7], [0.5])} == {'thresholds', 'share'}


def test_profile_counts_runs_above_each_threshold():
    profile = sb.performance_profile(np.tile(Y, (3, 1)), [0, 1, 2.5, 3])
    assert profile['share'] == pytest.approx([1, 4 / 6, 2 / 6, 0])
    for low, share, high in zip(profile['low'], profile['share'], profile['high'], strict=True):
        assert low <= share <= high
    # The area below a profile of scores in [0, 1] is their mean.
    scores = np.random.default_rng(4).uniform(size=(6, 5))
    grid = np.linspace(0, 1, 2001)
    area = np.trapezoid(sb.performance_profile(scores, grid, resamples=2)['share'], grid)
    assert area == pytest.approx(scores.mean(), abs=1e-3)
