"""Statistics of two samples: beside scipy and scikit-learn, and p that is uniform."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ftjax.serving.monitoring.martingale import Evidence, calibrated
from ftjax.serving.monitoring.traffic_rows import Rows
from ftjax.serving.monitoring.two_sample import areas_of, compare, distances, stability_index

NAMES = ('size', 'gap')


def rows(random, count, width=6, moved=0.0, classes=3):
    features = random.normal(size=(count, width)).astype(np.float32)
    features[:, 0] += moved
    measures = np.stack([random.integers(1, 9, count), random.random(count) < 0.2], axis=1)
    values = np.round(random.random(count), 1)  # with ties
    answers = random.integers(0, classes, count).astype(np.int32)
    return Rows(features, values.astype(np.float32), answers, measures.astype(np.float32))


def test_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    scores, kinds = random.normal(size=(50, 4)), random.random((50, 4)) < 0.3
    expected = [roc_auc_score(k, s) for s, k in zip(scores.T, kinds.T, strict=True)]
    np.testing.assert_allclose(areas_of(scores, kinds), expected)


def test_distances_are_those_of_scipy_with_ties_and_gaps():
    random = np.random.default_rng(1)
    values = np.round(random.normal(size=(120, 3)), 1)
    values[::7, 1] = np.nan
    values[5:, 2] = np.nan
    new = random.random(120) < 0.4
    found = distances(values, new)
    for column in (0, 1):
        known = ~np.isnan(values[:, column])
        expected = stats.ks_2samp(values[known & new, column], values[known & ~new, column])
        assert found[column] == pytest.approx(expected.statistic, abs=1e-6)
    assert found[2] == -1  # too few


def test_the_stability_index_by_hand():
    new, old = np.array([[30.0], [70.0]]), np.array([[50.0], [50.0]])
    p, q = np.array([30.5, 70.5]) / 101, np.array([0.5, 0.5])
    assert stability_index(new, old)[0] == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert stability_index(new, old)[0] == pytest.approx(0.16592, abs=1e-5)


def test_p_of_the_distance_is_scipys():
    random = np.random.default_rng(2)
    old, new = rows(random, 400), rows(random, 300)
    old.values[:], new.values[:] = random.normal(size=400), random.normal(size=300) + 0.09
    found = compare(old, new, NAMES, 0, 999)['confidence']
    expected = stats.ks_2samp(old.values, new.values)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-6)
    # 999 divisions: two deviations are 0.03 at most.
    assert found.p == pytest.approx(expected.pvalue, abs=0.04)


def test_p_is_uniform_without_a_change_for_every_statistic():
    random, found = np.random.default_rng(3), []
    for seed in range(300):
        found.append(compare(rows(random, 45), rows(random, 25), NAMES, seed, 49))
    for name in found[0]:
        p = [one[name].p for one in found]
        assert stats.kstest(p, 'uniform').pvalue > 0.001, name
        assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_each_kind_of_change_is_seen_by_its_statistic():
    random = np.random.default_rng(4)
    old = rows(random, 300)
    noisy, moved = rows(random, 200), rows(random, 200, moved=1.0)
    noisy.features[:] *= 1.5  # the mean stays
    surer, other, larger = (rows(random, 200) for _ in range(3))
    surer.values[:] = surer.values**0.3
    other.answers[:100] = 0
    larger.measures[:, 1] = random.random(200) < 0.6
    for new, name, p_of_others in (
        (moved, 'features', 0.001),
        (noisy, 'features', 0.001),
        (surer, 'confidence', 0.001),
        (other, 'classes', 0.001),
        (larger, 'inputs', 0.001),
    ):
        found = compare(old, new, NAMES, 5, 999)
        assert found[name].p <= 0.002, name
        assert all(one.p > p_of_others for key, one in found.items() if key != name), name
    assert compare(old, larger, NAMES, 5, 99)['inputs'].of == 'gap'


@pytest.mark.parametrize('count', [1, 5, 19])
def test_few_examples_and_constants_are_no_evidence(count):
    random = np.random.default_rng(6)
    found = compare(rows(random, 60), rows(random, count), NAMES, 0, 99)
    assert found['features'].p > 0.001
    assert [found[name] for name in ('confidence', 'classes', 'inputs')] == [None] * 3
    same = rows(random, 60)
    for column in (same.features, same.values, same.answers, same.measures):
        column[:] = 1
    constant = compare(same, same.take(np.arange(40)), NAMES, 0, 99)
    assert constant['confidence'].statistic == constant['classes'].statistic == 0
    # All divisions are tied: p is the number that breaks ties, as it has to be.
    drawn = [compare(same, same.take(np.arange(40)), NAMES, s, 49) for s in range(60)]
    for name in ('confidence', 'classes', 'inputs', 'features'):
        assert stats.kstest([one[name].p for one in drawn], 'uniform').pvalue > 0.001


def test_the_calibrator_has_integral_one_and_falls():
    from scipy.integrate import quad

    # On a logarithmic axis, where the mass near 0 is seen: the tail beyond x is 1 / x.
    total = quad(lambda x: calibrated(np.exp(-x)) * np.exp(-x), 0, 200)[0]
    assert total == pytest.approx(1 - 1 / 200, abs=1e-6)
    p = np.exp(-np.linspace(0, 20, 400))
    assert (np.diff([calibrated(float(x)) for x in p]) > 0).all()
    with pytest.raises(ValueError, match='above 0'):
        calibrated(0.0)


def test_evidence_is_the_sum_over_the_beginnings_of_a_change():
    ps, evidence = [0.3, 0.001, 0.9, 0.02], Evidence()
    for p in ps:
        evidence = evidence.after(p)
    e = [calibrated(p) for p in ps]
    by_hand = sum(np.prod(e[s - 1 :]) / (s * (s + 1)) for s in range(1, 5)) + 1 / 5
    assert evidence.value == pytest.approx(by_hand)
    assert Evidence().after(None).after(None).value == pytest.approx(1)  # proves nothing
    assert evidence.after(1e-12).after(1e-12).highest >= evidence.highest


def test_evidence_rarely_reaches_what_it_may_not():
    random, alarms = np.random.default_rng(7), 0
    for _ in range(1000):
        evidence = Evidence()
        for p in random.random(100):
            evidence = evidence.after(float(p))
        alarms += evidence.highest >= 20
    # At most 5 %: 1000 streams, three deviations above.
    assert alarms <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
