"""Comparisons to a reference: against scipy, closed forms, and simulated grids."""

import math

import numpy as np
import pytest
from scipy import stats

from ftjax.ablation.statistics import error_rates
from ftjax.ablation.statistics.comparison import compare_to_reference
from ftjax.ablation.statistics.simulation import CASES, measure
from ftjax.ablation.statistics.student import t_of_normal
from ftjax.errors import UserError

HIGHER = {'higher_is_better': True, 'margin': 0.0}
POOLED = (0.0,)


def table(arms, seeds, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, spread, (arms, seeds)) + rng.normal(0, 5, seeds)
    return {f'arm{number}': list(row) for number, row in enumerate(rows)}


def test_two_arms_are_compared_as_the_paired_t_test_does():
    scores = table(2, 5)
    found = compare_to_reference(scores, 'arm0', draws=200_000, **HIGHER)['arm1']
    expected = stats.ttest_rel(scores['arm1'], scores['arm0'])
    bounds = expected.confidence_interval(0.95)
    width = bounds.high - bounds.low
    assert found.standard_error == pytest.approx(found.difference / expected.statistic, rel=0.02)
    assert found.low == pytest.approx(bounds.low, abs=0.01 * width)
    assert found.high == pytest.approx(bounds.high, abs=0.01 * width)
    one_sided = stats.ttest_rel(scores['arm1'], scores['arm0'], alternative='greater').pvalue
    assert found.probability_better == pytest.approx(1 - one_sided, abs=0.003)


def test_equal_variances_give_the_critical_value_of_dunnett():
    # What scipy computes for groups without pairs, with the degrees of freedom of paired ones.
    arms, seeds = 6, 4
    found = compare_to_reference(
        table(arms, seeds), 'arm0', spreads=POOLED, draws=200_000, **HIGHER
    )
    ratios = [(one.high - one.difference) / one.standard_error for one in found]
    df, shape = (arms - 1) * (seeds - 1), np.full((arms - 1, arms - 1), 0.5)
    np.fill_diagonal(shape, 1.0)
    together = stats.multivariate_t(np.zeros(arms - 1), shape, df, seed=0)
    assert np.ptp(ratios) < 1e-5
    bound = np.full(arms - 1, ratios[0])
    assert together.cdf(bound, lower_limit=-bound) == pytest.approx(0.95, abs=0.003)


def test_many_seeds_without_pairs_agree_with_scipys_dunnett():
    rng = np.random.default_rng(3)
    scores = {f'arm{n}': rng.normal(0.2 * n, 1, 60) for n in range(5)}
    control, *others = scores.values()
    expected = stats.dunnett(*others, control=control, rng=0).confidence_interval(0.95)
    found = compare_to_reference(scores, 'arm0', **HIGHER)
    np.testing.assert_allclose([one.low for one in found], expected.low, atol=0.03)
    np.testing.assert_allclose([one.high for one in found], expected.high, atol=0.03)


def test_intervals_verdicts_and_chances_agree():
    scores = table(8, 4, seed=5)
    for number in range(8):
        scores[f'arm{number}'] = [value + 0.8 * number for value in scores[f'arm{number}']]
    found = compare_to_reference(scores, 'arm3', higher_is_better=True, margin=6.0)
    words = {one.verdict for one in found}
    assert words >= {'better', 'equivalent'}
    for one in found:
        assert (one.verdict in ('better', 'worse')) == (one.low > 0 or one.high < 0)
        assert (one.further_seeds is not None) == (one.verdict == 'undecided')
        if one.verdict == 'equivalent':
            assert -6 <= one.low <= one.high <= 6
        assert (one.probability_better > 0.5) == (one.difference > 0)
    turned = compare_to_reference(scores, 'arm3', higher_is_better=False, margin=6.0)
    swapped = {'better': 'worse', 'worse': 'better'}
    for one, other in zip(found, turned, strict=True):
        assert other.verdict == swapped.get(one.verdict, one.verdict)
        assert other.probability_better == pytest.approx(1 - one.probability_better)
        assert (other.low, other.high) == (one.low, one.high)


def test_further_seeds_decide_an_arm_whose_estimates_stay():
    rng = np.random.default_rng(1)
    unit = rng.normal(0, 1, (6, 4))
    unit -= unit.mean(1, keepdims=True)
    means = np.array([0, 1.2, 1.2, 0, 0, 0])
    scores = {str(n): row + mean for n, (row, mean) in enumerate(zip(unit, means, strict=True))}
    one = compare_to_reference(scores, '0', **HIGHER)['1']
    assert one.verdict == 'undecided'
    # Seeds like those there were: n times as many of them have the same means and variances.
    repeats = math.ceil((4 + one.further_seeds) / 4)
    more = {arm: np.tile(row, repeats) for arm, row in scores.items()}
    assert compare_to_reference(more, '0', **HIGHER)['1'].verdict == 'better'
    fewer = {arm: np.tile(row, max(1, repeats - 2)) for arm, row in scores.items()}
    assert compare_to_reference(fewer, '0', **HIGHER)['1'].verdict == 'undecided'
    assert compare_to_reference(scores, '0', **HIGHER)['3'].further_seeds is None
    wide = compare_to_reference(scores, '0', higher_is_better=True, margin=1.0)['3']
    assert 1 <= wide.further_seeds < 40


def test_further_folds_leave_what_they_share():
    rng, overlap, seeds = np.random.default_rng(3), 1 / 9, 10
    unit = rng.normal(0, 1, (4, seeds))
    unit -= unit.mean(1, keepdims=True)
    means = np.array([0, 1.45, 0.8, 0.9])
    scores = {str(n): row + mean for n, (row, mean) in enumerate(zip(unit, means, strict=True))}
    options = {**HIGHER, 'overlap': overlap}
    found = compare_to_reference(scores, '0', **options)
    # The closed form: sqrt((1/m + overlap) / (1/n + overlap)), never below sqrt(overlap).
    model, bound = found.model, found.model.bound(0.05)
    for place, one in enumerate(found):
        enough = [
            more
            for more in range(1001)
            if abs(one.difference)
            > one.standard_error
            * math.sqrt((1 / (seeds + more) + overlap) / (1 / seeds + overlap))
            * t_of_normal(bound, model.df[place] * (1 + more / (seeds - 1)))
        ]
        expected = enough[0] if enough and one.verdict == 'undecided' else None
        assert one.further_seeds == expected
    assert [one.further_seeds is None for one in found] == [False, True, True]
    alone = compare_to_reference(scores, '0', **HIGHER)
    assert None not in [alone[arm].further_seeds for arm in '12']


def test_a_smaller_alpha_is_wider_and_draws_are_the_same_every_time():
    scores = table(6, 3)
    found = [compare_to_reference(scores, 'arm0', alpha=a, **HIGHER) for a in (0.05, 0.05, 0.005)]
    assert found[0] == found[1]
    for one, wide in zip(found[0], found[2], strict=True):
        assert wide.low < one.low and wide.high > one.high


def test_a_missing_run_leaves_the_other_arms_nearly_as_they_were():
    scores = table(8, 5)
    whole = compare_to_reference(scores, 'arm0', **HIGHER)
    scores['arm3'][2] = float('nan')
    broken = compare_to_reference(scores, 'arm0', **HIGHER)
    assert broken['arm3'].seeds == 4
    assert broken['arm3'].standard_error > whole['arm3'].standard_error
    assert broken['arm5'].difference == pytest.approx(whole['arm5'].difference)
    assert broken['arm5'].high == pytest.approx(whole['arm5'].high, rel=0.2)
    # The reference's own: the seed's effect is known from the other arms.
    scores['arm0'][1] = float('nan')
    found = compare_to_reference(scores, 'arm0', **HIGHER)
    assert found['arm5'].seeds == 4 and abs(found['arm5'].difference) < 3


def test_missing_runs_agree_with_least_squares():
    # Equal variances: an ordinary regression on arms and seeds, as any statistics package does it.
    scores = table(4, 6, seed=2)
    scores['arm1'][0] = scores['arm2'][3] = scores['arm0'][5] = float('nan')
    rows = np.array(list(scores.values()))
    arm, seed = np.nonzero(np.isfinite(rows))
    design = np.hstack([np.eye(4)[arm][:, 1:], np.eye(6)[seed]])
    values = rows[arm, seed]
    solved, squares, *_ = np.linalg.lstsq(design, values)
    variance = squares[0] / (len(values) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))[:3]
    found = compare_to_reference(scores, 'arm0', spreads=POOLED, **HIGHER)
    np.testing.assert_allclose([one.difference for one in found], solved[:3], rtol=0.05)
    np.testing.assert_allclose([one.standard_error for one in found], errors, rtol=0.02)


def test_arms_that_cannot_be_compared_are_undecided():
    nan = float('nan')
    scores = {'a': [1.0, 2.0, nan], 'b': [1.5, 2.4, nan], 'c': [nan, nan, 3.0], 'd': [nan] * 3}
    found = compare_to_reference(scores, 'a', **HIGHER)
    assert found['b'].seeds == 2 and math.isfinite(found['b'].high)
    for arm in 'cd':
        assert math.isnan(found[arm].difference) and found[arm].verdict == 'undecided'
    alone = compare_to_reference({'a': [1.0, 2.0]}, 'a', **HIGHER)
    assert alone.arms == ()
    one_seed = compare_to_reference({'a': [1.0], 'b': [2.0]}, 'a', **HIGHER)['b']
    assert one_seed.difference == 1 and one_seed.low == -math.inf
    constant = compare_to_reference({'a': [1.0, 1.0], 'b': [1.1, 1.1]}, 'a', **HIGHER)['b']
    assert constant.verdict == 'undecided' and constant.difference == pytest.approx(0.1)
    nothing = compare_to_reference({'a': [nan, nan], 'b': [1.0, 2.0]}, 'a', **HIGHER)['b']
    assert nothing.verdict == 'undecided' and math.isnan(nothing.difference)


def test_an_arm_that_stands_out_leaves_the_others_their_precision():
    scores = table(10, 4)
    alone = compare_to_reference(scores, 'arm0', **HIGHER)
    scores['collapsed'] = [value - (60 if n == 1 else 20) for n, value in enumerate(scores['arm4'])]
    found = compare_to_reference(scores, 'arm0', **HIGHER)
    assert found.outside_prior == ('collapsed',)
    assert found['arm3'].high - found['arm3'].low < 1.25 * (alone['arm3'].high - alone['arm3'].low)
    named = compare_to_reference(scores, 'arm0', outside_prior=['arm2'], **HIGHER)
    assert named.outside_prior == ('arm2', 'collapsed')
    two = {arm: scores[arm] for arm in ('arm0', 'arm1')}
    apart = compare_to_reference(two, 'arm0', outside_prior=['arm1'], **HIGHER)
    assert apart.arms == compare_to_reference(two, 'arm0', **HIGHER).arms


@pytest.mark.parametrize('named', [True, False])
def test_a_reference_that_varies_on_its_own_is_known_by_its_seeds_alone(named):
    """Seeds move all arms but the reference: nothing but three seeds says by how much."""
    scores = {arm: np.array(row) for arm, row in table(8, 3, seed=6, spread=0.01).items()}
    scores = {'pretrained': np.zeros(3), **scores}
    outside = ['pretrained'] if named else []
    found = compare_to_reference(scores, 'pretrained', outside_prior=outside, **HIGHER)
    assert found.outside_prior == ('pretrained',)
    for one in found:  # all err together, so that the intervals of all are those of one
        expected = stats.ttest_1samp(scores[one.arm], 0).confidence_interval(0.95)
        assert one.high - one.low == pytest.approx(expected.high - expected.low, rel=0.05)


def test_mistakes_are_refused():
    scores = {'full': [1.0, 2.0], 'head': [1.0, 2.0]}
    with pytest.raises(UserError, match=r"'ful'.*'full'"):
        compare_to_reference(scores, 'ful', **HIGHER)
    with pytest.raises(UserError, match=r"'haed'.*'head'"):
        compare_to_reference(scores, 'full', outside_prior=['haed'], **HIGHER)
    with pytest.raises(UserError, match='one length'):
        compare_to_reference({**scores, 'lora': [1.0]}, 'full', **HIGHER)
    with pytest.raises(UserError, match='infinite'):
        compare_to_reference({**scores, 'lora': [1.0, math.inf]}, 'full', **HIGHER)
    for wrong in ({'alpha': 0.0}, {'alpha': 1.0}, {'margin': -1.0}, {'margin': float('nan')}):
        with pytest.raises(UserError, match='expected alpha'):
            compare_to_reference(scores, 'full', **{**HIGHER, **wrong})


# The limits of the issue, and three standard errors of a share of so many grids.
def at_most(limit, grids):
    return limit + 3 * math.sqrt(limit * (1 - limit) / grids)


@pytest.mark.parametrize('case', ['equal', 'unequal', 'missing runs'])
def test_intervals_miss_no_more_often_than_promised(case):
    seen = measure(case, arms=6, seeds=3, grids=150)
    assert seen.miss <= at_most(0.1 if case == 'unequal' else 0.06, 150)
    assert seen.wrong <= seen.miss and seen.power > 0.3


def test_the_rates_that_reports_tell_are_within_the_limits():
    for found in error_rates.measured():
        grids, limit = found['grids'], 0.08 if found['seeds'] >= 5 else 0.1
        assert found['equal'] <= at_most(0.06, grids), found
        assert found['unequal'] <= at_most(limit, grids), found
    nearest = error_rates.error_rates(arms=9, seeds=4)
    assert (nearest['arms'], nearest['seeds']) == (8, 5)
    assert error_rates.rate_sentence(3, 1, 0.95) == '' == error_rates.rate_sentence(3, 5, 0.9)
    assert ' 1 arm beside' in error_rates.rate_sentence(1, 3, 0.95)


def test_a_reference_without_the_seeds_effect_misses_no_more_often_than_promised():
    seen = measure('a fixed reference', arms=8, seeds=3, grids=80)
    assert seen.miss <= at_most(0.05, 80)


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize(('arms', 'seeds'), [(5, 3), (5, 5), (10, 3), (10, 5), (50, 3)])
def test_error_rates(case, arms, seeds):
    grids = 500
    limit = 0.06 if case != 'unequal' else 0.08 if seeds >= 5 else 0.1
    seen = measure(case, arms, seeds, grids)
    assert seen.miss <= at_most(limit, grids)
    if case == 'equal' and arms == 50:
        assert seen.power > 0.4  # Holm's paired t tests: .02
