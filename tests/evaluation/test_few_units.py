"""Intervals of few units hold what they promise, where a bootstrap is too narrow."""

import numpy as np
import pytest
from scipy import stats

from ftjax.evaluation.few_units import FEW, jackknife_interval
from ftjax.evaluation.intervals import (
    bootstrap_interval,
    bootstrap_intervals_of_sums,
    mean_interval,
    ratio_interval,
    score_interval,
    score_of_sums_interval,
)


def loss(sums):
    return sums[:, 0].sum() / sums[:, 1].sum()


def texts(draw, count):
    """Nats and tokens of some texts, whose loss a token is 2 on the mean."""
    tokens = draw.integers(20, 60, count).astype(np.float64)
    return np.column_stack([tokens * draw.normal(2.0, 0.4, count), tokens])


@pytest.mark.parametrize('count', [3, 5, 12])
def test_a_loss_a_token_of_few_texts_is_covered(count):
    draw, held = np.random.default_rng(10 + count), []
    for _ in range(1500):
        low, high = bootstrap_interval(texts(draw, count), loss)
        held.append(low <= 2.0 <= high)
    # Three standard errors are 1.7 %. Percentiles of resamples hold 73, 83 and 90 % here.
    assert 0.93 <= np.mean(held) <= 0.97


def test_of_a_mean_it_is_the_t_interval_and_of_a_ratio_nearly_the_linearised_one():
    draw = np.random.default_rng(0)
    values = draw.normal(size=6)
    wanted = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = bootstrap_interval(values, np.mean)
    np.testing.assert_allclose(found, [wanted.low, wanted.high], rtol=1e-9)
    rows = texts(draw, 8)
    np.testing.assert_allclose(bootstrap_interval(rows, loss), ratio_interval(*rows.T), rtol=0.01)
    (of_sums,) = bootstrap_intervals_of_sums(rows, lambda sums: sums[:, :1] / sums[:, 1:])
    np.testing.assert_allclose(of_sums, bootstrap_interval(rows, loss), rtol=1e-9)


def test_scores_stay_in_their_range_and_many_units_are_resampled():
    rows = np.array([[9.0, 10.0], [10.0, 10.0], [2.0, 3.0]])
    low, high = score_of_sums_interval(rows, loss)
    assert 0.0 <= low < loss(rows) < high == 1.0
    assert score_interval(np.array([1.0, 1.0, 0.5]))[1] == 1.0
    assert mean_interval(np.array([0.01, 4.0, 0.02]), within=(0.0, None))[0] == 0.0
    many = texts(np.random.default_rng(1), FEW)
    assert bootstrap_interval(many, loss) != jackknife_interval(many, loss, 0.95)


def test_what_is_too_large_has_the_ends_of_resamples():
    values = np.array([1e200, 1.0, 2.0])
    assert jackknife_interval(values, np.mean, 0.95) is None
    assert np.isfinite(bootstrap_interval(values, np.mean)).all()


def test_what_is_undefined_without_a_unit_is_resampled():
    rows = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    with np.errstate(invalid='ignore'):
        assert jackknife_interval(rows, loss, 0.95) is None
        assert bootstrap_interval(rows, loss) == [0.5, 0.5]
