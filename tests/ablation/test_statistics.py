"""Means, paired differences and Holm's correction against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.statistics.paired import holm, mean_interval, paired_difference
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


@pytest.mark.parametrize('n', [3, 5])
def test_t_covers_what_it_promises_and_the_bootstrap_does_not(n):
    rng = np.random.default_rng(1)
    covered = {'t': 0, 'bootstrap': 0}
    trials = 600
    for _ in range(trials):
        scores = dict(enumerate(rng.normal(0, 1, n)))
        difference = paired_difference(scores, dict.fromkeys(scores, 0.0), resamples=300)
        t, bootstrap = difference.interval, difference.bootstrap
        covered['t'] += t.low <= 0 <= t.high
        covered['bootstrap'] += bootstrap.low <= 0 <= bootstrap.high
    assert covered['t'] / trials == pytest.approx(0.95, abs=0.025)
    assert covered['bootstrap'] / trials < 0.89


def test_paired_difference_equals_the_paired_t_test():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 0.05, 6)
    arm = dict(enumerate(0.8 + shared + rng.normal(0, 0.01, 6)))
    reference = dict(enumerate(0.78 + shared + rng.normal(0, 0.01, 6)))
    found = paired_difference(arm, reference)
    expected = stats.ttest_rel(list(arm.values()), list(reference.values()))
    assert found.p == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high))
    # Pairing takes the shared part out: the arms' own intervals are wider.
    own = mean_interval(list(arm.values()))
    assert found.interval.high - found.interval.low < own.high - own.low


def test_unfinished_runs_leave_the_pairs_and_are_counted():
    arm = {0: 0.9, 1: None, 2: 0.8, 3: 0.7}
    reference = {0: 0.8, 1: 0.5, 2: 0.8, 4: 0.9}
    found = paired_difference(arm, reference)
    assert found.seeds == (0, 2) and found.n_unpaired == 3
    assert found.interval.estimate == pytest.approx(0.05)
    assert (found.wins, found.ties) == (1, 1)
    assert paired_difference({0: None}, {0: 0.5}) is None


def test_equal_differences_have_no_p_value():
    found = paired_difference({0: 0.3, 1: 0.5, 2: 0.7}, {0: 0.2, 1: 0.4, 2: 0.6})
    assert found.p is None and found.wins == 3
    assert found.interval.estimate == pytest.approx(0.1)


def test_holm_by_the_definition():
    p = [0.001, 0.2, None, 0.012, 0.04]
    # 4, 3, 2, 1 times the sorted values, never falling.
    np.testing.assert_allclose(
        [x for x in holm(p) if x is not None], [0.004, 0.2, 0.036, 0.08], rtol=1e-12
    )
    assert holm(p)[2] is None
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    with pytest.raises(UserError, match=r'\[0, 1\]'):
        holm([1.2])


def test_holm_controls_the_family():
    rng = np.random.default_rng(3)
    wrong = np.mean([min(holm(rng.uniform(size=6))) < 0.05 for _ in range(2000)])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_a_nan_is_refused_rather_than_dropped():
    with pytest.raises(UserError, match='mark its run as diverged'):
        mean_interval([0.5, float('nan')])
    with pytest.raises(UserError, match='no finished run'):
        mean_interval([])


def test_folds_widen_the_interval_and_the_test_as_nadeau_and_bengio_say():
    values, other = [0.80, 0.84, 0.79, 0.83, 0.81], [0.78, 0.80, 0.79, 0.80, 0.77]
    interval = mean_interval(values, overlap=1 / 4)
    spread = np.std(values, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    half = stats.t.ppf(0.975, 4) * spread
    assert interval.estimate == pytest.approx(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx(
        (np.mean(values) - half, np.mean(values) + half)
    )
    pair = dict(enumerate(values)), dict(enumerate(other))
    plain, wide = paired_difference(*pair), paired_difference(*pair, overlap=1 / 4)
    differences = np.subtract(values, other)
    t = differences.mean() / (differences.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4))
    assert wide.p == pytest.approx(2 * stats.t.sf(t, 4)) and wide.p > plain.p
    assert plain.p == pytest.approx(stats.ttest_rel(values, other).pvalue)
    assert wide.interval == mean_interval(differences, overlap=1 / 4)
