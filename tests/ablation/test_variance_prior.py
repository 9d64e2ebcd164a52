"""The prior of variances over arms: against Smyth's formulas, scipy's F, and known truths."""

import numpy as np
import pytest
from scipy import integrate, stats

from ftjax.ablation.statistics.student import normal_of_t, t_of_normal
from ftjax.ablation.statistics.two_way import rough_variances, two_way
from ftjax.ablation.statistics.variance_prior import degrees_of, fit_prior, moderated


def test_moderated_variances_by_hand():
    # limma's squeezeVar(c(1, 4, 16), df = 3, prior of 5 at 2): (5 * 2 + 3 * s2) / 8.
    np.testing.assert_allclose(
        moderated(np.array([1.0, 4.0, 16.0]), np.full(3, 3.0), 5.0, 2.0), [1.625, 2.75, 7.25]
    )


def test_the_grid_integrates_the_likelihood_that_scipy_has():
    variances, df, spread = np.array([0.5, 1.1, 2.9, 0.8, 1.7]), np.full(5, 2.0), 0.5
    d0 = degrees_of(spread)
    prior = fit_prior(variances, df, (spread,))

    def density(log_s0):
        s0 = np.exp(log_s0)
        return np.prod(stats.f.pdf(variances / s0, df, d0) / s0)

    total = integrate.quad(density, -6, 6)[0]
    mean = integrate.quad(lambda x: x * density(x), -6, 6)[0] / total
    assert (prior.probability * prior.log_s0).sum() == pytest.approx(mean, abs=0.01)
    above = integrate.quad(lambda x: density(x) * stats.f.sf(9 / np.exp(x), 2, d0), -6, 6)[0]
    assert prior.exceeds(9.0, 2.0) == pytest.approx(above / total, rel=0.02)


@pytest.mark.parametrize('spread', [0.0, 0.5, 1.0])
def test_many_arms_tell_how_variances_spread(spread):
    rng = np.random.default_rng(0)
    df = np.full(3000, 4.0)
    d0 = degrees_of(spread)
    truth = 2 * d0 / rng.chisquare(d0, len(df))
    prior = fit_prior(truth * rng.chisquare(4, len(df)) / 4, df)
    likely = np.argmax(prior.probability.sum(1))
    assert prior.d0[likely] == pytest.approx(d0, rel=1e-6)
    s0 = np.exp((prior.probability * prior.log_s0).sum())
    assert s0 == pytest.approx(2, rel=0.06)


def test_draws_have_the_grid_s_distribution():
    prior = fit_prior(np.array([0.5, 1.1, 2.9, 0.8, 1.7]), np.full(5, 2.0))
    d0, s0 = prior.draws(20_000, np.random.default_rng(0))
    shares = [(d0 == value).mean() for value in prior.d0]
    np.testing.assert_allclose(shares, prior.probability.sum(1), atol=1e-3)
    mean = (prior.probability * prior.log_s0).sum()
    assert np.log(s0).mean() == pytest.approx(mean, abs=0.01)


def test_two_way_residuals_are_unbiased_for_unequal_variances():
    rng = np.random.default_rng(0)
    truth = np.array([1.0, 4.0, 0.25, 9.0, 1.0])
    seeds = rng.normal(0, 10, (400, 1, 6))
    tables = rng.standard_normal((400, 5, 6)) * np.sqrt(truth)[:, None] + seeds
    fits = [two_way(one, 1 / truth) for one in tables]
    np.testing.assert_allclose(np.mean([fit.variances for fit in fits], 0), truth, rtol=0.12)
    # Degrees of freedom are those that the seeds' effects leave.
    equal = two_way(tables[0], np.ones(5))
    assert equal.df.sum() == pytest.approx(4 * 5)
    np.testing.assert_allclose(np.einsum('bat,at->b', equal.means, tables[0]), tables[0].mean(1))


def test_one_run_far_off_spoils_its_own_variance_alone():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((6, 4))
    before, _ = rough_variances(table)
    table[2, 1] -= 1000
    after, _ = rough_variances(table)
    assert after[2] > 1e5 and np.delete(after, 2).max() < 10 * np.delete(before, 2).max()


@pytest.mark.parametrize('df', [2.0, 3.0, 8.0, 1e6])
def test_t_as_a_normal_variable(df):
    t = np.array([0.5, 1.5, 3.0, 8.0])
    expected = stats.norm.isf(stats.t.sf(t, df))
    if df < 1e6:
        np.testing.assert_allclose(normal_of_t(t, df), expected, rtol=0.04)
    np.testing.assert_allclose(t_of_normal(normal_of_t(t, df), df), t)
