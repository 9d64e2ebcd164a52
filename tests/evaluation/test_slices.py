"""A metric on parts of a split: its intervals, its tests, and the correction for many parts."""

import numpy as np
import pytest
from scipy import stats

from ftjax.evaluation.intervals import bootstrap_interval
from ftjax.evaluation.metric import Metric, error, share
from ftjax.evaluation.ratio import Ratio
from ftjax.evaluation.slices import parts_of, slices

ACCURACY, LOSS = share('accuracy'), error('loss')


def mean_of(values, metric=LOSS):
    values = np.asarray(values, np.float64)
    return Ratio(metric, values, np.ones(len(values)))


def test_of_a_mean_the_interval_is_students_t():
    values = np.random.default_rng(0).gamma(2, size=40)
    expected = stats.t.interval(0.9, 39, values.mean(), stats.sem(values))
    assert mean_of(values).interval(0.9) == pytest.approx(expected)


def test_of_a_ratio_the_interval_is_near_the_bootstraps():
    draw = np.random.default_rng(1)
    below = draw.integers(1, 20, 400).astype(float)
    above = draw.gamma(2, size=400) * below
    ratio = Ratio(LOSS, above, below)
    rows = np.stack([above, below], axis=1)
    boot = bootstrap_interval(rows, lambda r: r[:, 0].sum() / r[:, 1].sum())
    assert ratio.interval() == pytest.approx(boot, rel=0.02)


def test_of_a_ratio_the_interval_covers_in_so_many_of_a_hundred():
    draw, covered = np.random.default_rng(2), 0
    for _ in range(400):
        below = draw.integers(1, 9, 60).astype(float)
        low, high = Ratio(LOSS, draw.poisson(2 * below).astype(float), below).interval()
        covered += low <= 2 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_shares_have_wilsons_interval_and_fishers_test():
    hits, others = mean_of([1] * 9 + [0] * 3, ACCURACY), mean_of([1] * 4 + [0] * 8, ACCURACY)
    wilson = stats.binomtest(9, 12).proportion_ci(0.95, 'wilson')
    assert hits.interval() == pytest.approx((wilson.low, wilson.high))
    assert hits.p_against(others) == pytest.approx(stats.fisher_exact([[9, 4], [3, 8]]).pvalue)


def test_means_have_welchs_test():
    draw = np.random.default_rng(3)
    one, two = draw.normal(size=30), draw.normal(0.5, 3, size=50)
    expected = stats.ttest_ind(one, two, equal_var=False).pvalue
    assert mean_of(one).p_against(mean_of(two)) == pytest.approx(expected)


def test_what_cannot_be_said_is_none():
    empty, single = mean_of([]), mean_of([2.5])
    assert empty.value is None and empty.interval() is None
    assert mean_of([2.5, 2.5]).interval() is None  # they do not say how others differ
    assert single.interval() is None and single.p_against(mean_of([1.5, 2.0])) is None
    assert mean_of([2.5, 2.5]).p_against(mean_of([2.5, 2.5])) == 1.0
    nothing = Ratio(Metric(name='f1'), np.zeros(3), np.zeros(3))
    assert nothing.value is None and nothing.interval() is None


def test_a_part_that_is_worse_is_found_and_chance_is_not():
    draw = np.random.default_rng(4)
    site = np.asarray(['good', 'bad', 'fair'], object)[np.arange(900) % 3]
    right = draw.random(900) < np.where(site == 'bad', 0.6, 0.9)
    found = slices(mean_of(right, ACCURACY), {'site': site, 'noise': draw.random(900)})
    assert [one.level for one in found if one.worse(1)] == ['bad']
    false = 0
    for _ in range(100):
        made = slices(mean_of(draw.random(200) < 0.8, ACCURACY), {'noise': draw.random(200)})
        false += any(one.worse(1) for one in made)
    assert false <= 10  # 5 of 100 are allowed for, all parts of a split together


def test_intervals_hold_together_and_p_is_corrected():
    right = np.random.default_rng(5).random(120) < 0.7
    parts = {'n': np.arange(120) % 4}
    found = slices(mean_of(right, ACCURACY), parts)
    assert len(found) == 4
    one = mean_of(right[::4], ACCURACY)
    assert found[0].interval == pytest.approx(one.interval(1 - 0.05 / 4))
    rest = mean_of(right[np.arange(120) % 4 > 0], ACCURACY)
    assert found[0].p == pytest.approx(min(1, 4 * one.p_against(rest)))


def test_small_parts_whole_splits_and_nameless_values_are_no_parts():
    right = mean_of(np.ones(20), ACCURACY)
    assert slices(right, {'one': ['x'] * 20, 'rare': ['a'] * 18 + ['b'] * 2})[0].level == 'a'
    assert not slices(right, {'one': ['x'] * 20, 'none': [''] * 20})
    many = [f'{i:03d}' for i in range(40)] * 5
    assert len(list(parts_of(np.asarray(many, object)))) == 12
    numbers = np.array([1.0, np.nan, 2.0, 2.0])
    assert [int(where.sum()) for _, where in parts_of(numbers)] == [1, 2]


def test_every_number_is_in_one_part():
    values = np.random.default_rng(6).gamma(1, size=101)
    assert np.sum([where for _, where in parts_of(values)], axis=0).tolist() == [1] * 101


def test_with_groups_parts_are_worse_by_chance_no_more_often_than_is_allowed():
    """40 patients of 25 images; two sites that do not differ. By images a fourth were 'worse'."""
    draw, false = np.random.default_rng(7), 0
    groups = np.repeat(np.arange(40), 25)
    for _ in range(100):
        site = draw.permutation(40)[groups] % 2
        right = draw.random(1000) < draw.beta(4, 2, 40)[groups]
        made = slices(mean_of(right, ACCURACY), {'site': site}, groups)
        false += any(one.worse(1) for one in made)
    assert false <= 10


def test_units_of_a_part_are_its_groups():
    right = np.random.default_rng(8).random(120) < 0.7
    ratio, site = mean_of(right, ACCURACY), np.arange(120) % 4
    assert slices(ratio, {'n': site}, np.arange(120)) == slices(ratio, {'n': site})
    assert {one.p for one in slices(ratio, {'n': site}, np.zeros(120, int))} == {None}
    by_site = slices(ratio, {'n': site}, site)  # a part is one group
    assert all((one.p, one.interval) == (None, None) and one.n == 30 for one in by_site)
    groups = np.repeat(np.arange(12), 10)
    one = slices(ratio, {'n': np.where(groups < 6, 'a', 'b')}, groups)[0]
    sums = Ratio(ACCURACY, right[:60].reshape(6, 10).sum(1), np.full(6, 10.0))
    assert one.interval == pytest.approx(sums.interval(1 - 0.05 / 2))


def test_groups_that_are_all_right_have_an_interval_and_a_test():
    sizes = np.array([4.0, 9.0, 2.0, 7.0, 5.0])
    perfect, none = Ratio(ACCURACY, sizes, sizes), Ratio(ACCURACY, 0 * sizes, sizes)
    wilson = stats.binomtest(5, 5).proportion_ci(0.95, 'wilson')
    assert perfect.interval() == pytest.approx((wilson.low, wilson.high))
    expected = stats.fisher_exact([[5, 0], [0, 5]]).pvalue
    assert perfect.p_against(none) == pytest.approx(expected)
    assert mean_of([1.5, 1.5]).hits is None and Ratio(LOSS, sizes, sizes).hits is None
