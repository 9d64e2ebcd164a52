"""Temperature, calibration error, selective accuracy, conformal sets, unfamiliar inputs."""

import types

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from scipy import optimize, spatial, special, stats

from ftjax.errors import UserError
from ftjax.evaluation.calibration.calibration_error import calibration_error, equal_mass_error
from ftjax.evaluation.calibration.conformal import (
    conformal_quantile,
    nonconformity,
    prediction_sets,
    set_summary,
)
from ftjax.evaluation.calibration.out_of_distribution import Gaussians, auroc, energy, separation
from ftjax.evaluation.calibration.probability_report import class_report, fit_classes, fit_several
from ftjax.evaluation.calibration.reliability_text import reliability_lines
from ftjax.evaluation.calibration.selective import risk_coverage, selective_accuracy
from ftjax.evaluation.calibration.temperature import LIMITS, fit_temperature, fit_temperature_binary
from ftjax.evaluation.decisions import one_class, several_labels
from ftjax.evaluation.intervals import wilson_interval
from ftjax.runs.prediction import answer_options as options_module
from ftjax.tasks import task_of


def drawn(n, classes, temperature, seed=0):
    """Logits, and labels that softmax(logits / temperature) draws."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, classes))
    chances = special.softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, classes - 1)
    return logits, labels


def test_the_temperature_of_two_logits_has_a_closed_form():
    """sigmoid(2 / T) = 3/4 where three of four are right."""
    logits = np.array([[2.0, 0.0]] * 4)
    assert fit_temperature(logits, [0, 0, 0, 1]) == pytest.approx(2 / np.log(3), rel=1e-5)
    hot = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert fit_temperature_binary(np.full((4, 1), 2.0), hot) == pytest.approx(
        2 / np.log(3), rel=1e-5
    )


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.5])
def test_the_temperature_that_drew_the_labels_is_found(temperature):
    logits, labels = drawn(20_000, 5, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)

    def loss(beta):
        scaled = special.softmax(logits * beta[0], axis=1)
        return sklearn.metrics.log_loss(labels, scaled)

    other = optimize.minimize(loss, [1.0], method='Nelder-Mead', options={'xatol': 1e-6})
    assert found == pytest.approx(1 / other.x[0], rel=1e-3)


def test_a_temperature_of_nothing_or_of_no_numbers_is_refused():
    with pytest.raises(UserError, match='no examples'):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(UserError, match='NaN'):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))
    # All right: any low temperature has a loss of 0, and none outside the limits is looked at.
    assert LIMITS[0] <= fit_temperature(np.array([[9.0, 0.0]]), [0]) < 0.3


def test_the_calibration_error_in_equal_bins_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    confidence = rng.random(103)
    correct = rng.random(103) < confidence**2
    order = np.argsort(confidence)
    total = 0.0
    for part in range(10):
        inside = order[part * 103 // 10 : (part + 1) * 103 // 10]
        total += len(inside) * abs(correct[inside].mean() - confidence[inside].mean())
    assert equal_mass_error(confidence, correct, 10) == pytest.approx(total / 103)
    # Where confidence and accuracy fall into as many bins of equal width, scikit-learn agrees.
    grid = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 20)
    right = rng.random(100) < 0.5
    share, mean = sklearn.calibration.calibration_curve(right, grid, n_bins=5)
    assert equal_mass_error(grid, right, 5) == pytest.approx(np.abs(share - mean).mean())


def test_a_calibrated_network_is_not_called_uncalibrated_and_the_bias_is_told():
    """p values are uniform under calibration; the mean error is the simulated one."""
    rng = np.random.default_rng(2)
    found = []
    for seed in range(60):
        confidence = rng.uniform(0.5, 1, 120)
        found.append(calibration_error(confidence, rng.random(120) < confidence, seed=seed))
    rejected = np.mean([each['p_calibrated'] < 0.1 for each in found])
    assert rejected <= 0.25  # 6 of 60 are expected; 15 have a chance below 1e-3
    errors = np.array([each['ece'] for each in found])
    assert errors.min() > 0.03  # the bias: none of them is near the true 0
    told = np.mean([each['ece_if_calibrated'] for each in found])
    assert errors.mean() == pytest.approx(told, rel=0.1)


GAPS = {
    'none': lambda confidence: 0 * confidence,
    'the same': lambda confidence: 0 * confidence - 0.15,
    'growing': lambda confidence: -0.4 * (confidence - 0.5),
    'of some': lambda confidence: np.where(confidence < 0.75, -0.1, 0.0),
    'of both signs': lambda confidence: np.where(confidence < 0.75, 0.05, -0.05),
}
"""What is added to a confidence to give the chance that the answer is right."""


def held(gap, n, seeds, groups=None):
    """How many of so many intervals lie above the true error, below it, and hold it.

    With groups of so many answers, each group shifts its chances by its own amount.
    """
    above = below = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.6, 0.95, n)
        chance = np.clip(confidence + GAPS[gap](confidence), 0, 1)
        owners, shifted = None, chance
        if groups:
            owners = np.arange(n) // groups
            shifted = np.clip(chance + rng.uniform(-0.04, 0.04, owners.max() + 1)[owners], 0, 1)
        order = np.argsort(confidence)
        row = calibration_error(confidence, rng.random(n) < shifted, seed=seed, groups=owners)
        ends = np.arange(row['bins']) * n // row['bins']
        true = np.abs(np.add.reduceat((chance - confidence)[order], ends)).sum() / n
        low, high = row['ece_interval']
        assert 0 <= low < row['ece'] < high + 1e-9  # which is rounded
        if 'p_calibrated' in row and row['p_calibrated'] >= 0.025:
            assert low == 0
        above, below = above + (low > true), below + (high < true)
    return above, below, seeds - above - below


@pytest.mark.parametrize('gap', ['none', 'the same'])
def test_the_interval_of_the_calibration_error_covers_the_true_one(gap):
    """A basic bootstrap holds the 0 of a calibrated network in 40 of 100."""
    assert held(gap, 200, 25)[2] >= 21  # below that has a chance of .007 at 95 %


@pytest.mark.slow
@pytest.mark.parametrize('n', [20, 300, 2000])
@pytest.mark.parametrize('gap', GAPS)
def test_the_interval_of_the_calibration_error_covers_whatever_the_gaps_are(gap, n):
    above, below, _ = held(gap, n, 300)
    assert max(above, below) <= 16  # 7.5 are expected of 300, and three standard errors


@pytest.mark.slow
@pytest.mark.parametrize('groups', [5, 15, 40])
@pytest.mark.parametrize('gap', GAPS)
def test_the_interval_of_the_calibration_error_covers_with_groups(gap, groups):
    above, below, _ = held(gap, groups * 20, 300, groups=20)
    assert max(above, below) <= 16


def test_of_a_single_bin_the_interval_is_that_of_the_accuracy():
    rng = np.random.default_rng(5)
    confidence = np.full(300, 0.9)
    right = rng.random(300) < 0.6
    row = calibration_error(confidence, right, bins=1)
    wilson = stats.binomtest(int(right.sum()), 300).proportion_ci(0.975, 'wilson')
    assert row['ece_interval'][0] == pytest.approx(0.9 - wilson.high)
    # From the highest accuracy at which so few are right in 2.5 %: Clopper and Pearson's bound.
    exact = stats.binomtest(int(right.sum()), 300).proportion_ci(0.95, 'exact')
    assert row['ece_interval'][1] == pytest.approx(0.9 - exact.low, abs=0.015)
    groups, shares = np.repeat(np.arange(30), 10), right.reshape(30, 10).mean(1)
    row = calibration_error(confidence, right, bins=1, groups=groups)
    student = stats.ttest_1samp(0.9 - shares, 0).confidence_interval(0.975)
    assert row['ece_interval'][0] == pytest.approx(student.low)
    student = stats.ttest_1samp(0.9 - shares, 0).confidence_interval(0.95)
    assert row['ece_interval'][1] == pytest.approx(student.high, abs=0.015)
    alike = calibration_error(np.full(40, 0.9), np.ones(40), groups=np.arange(40) // 10)
    assert alike['ece_interval'] is None  # groups that agree do not say how others differ


def test_the_interval_of_the_calibration_error_resamples_groups():
    """40 patients of 10 pictures that are all right or all wrong: as of 40 pictures."""
    rng = np.random.default_rng(4)
    groups, right = np.repeat(np.arange(40), 10), np.repeat(rng.random(40) < 0.7, 10)
    confidence = np.full(400, 0.8)
    alone = calibration_error(confidence, right, bins=1)
    row = calibration_error(confidence, right, bins=1, groups=groups)
    widths = [each['ece_interval'][1] - each['ece_interval'][0] for each in (alone, row)]
    assert row['ece'] == alone['ece'] and widths[1] > 2 * widths[0]
    assert row['groups'] == 40 and 'p_calibrated' not in row and 'ece_if_calibrated' not in row
    one_each = calibration_error(confidence, right, groups=np.arange(400))
    assert one_each['ece_interval'] == pytest.approx(
        calibration_error(confidence, right)['ece_interval'], abs=0.02
    )
    logits = np.stack([np.full(400, np.log(4)), np.zeros(400)], axis=1)
    labels = 1 - right.astype(int)
    report = task_of('classification').reliability(logits, labels, None, groups)
    assert (
        report['plain']['groups'] == 40
        and '400 examples of 40 groups' in reliability_lines(report)[0]
    )
    single = class_report(logits, labels, None, np.zeros(400))
    assert single['plain']['ece_interval'] is None and reliability_lines(single)


def test_selective_accuracy_is_that_of_a_loop_and_ties_are_fair():
    rng = np.random.default_rng(4)
    confidence, correct = rng.random(50), rng.random(50) < 0.7
    coverage, risk = risk_coverage(confidence, correct)
    order = np.argsort(-confidence)
    assert risk == pytest.approx([1 - correct[order[:k]].mean() for k in range(1, 51)])
    assert coverage[-1] == 1 and risk[-1] == pytest.approx(1 - correct.mean())
    # One confidence for all says nothing: the risk is the error rate at every coverage.
    same = selective_accuracy(np.full(50, 0.9), correct)
    assert same['aurc'] == pytest.approx(1 - correct.mean())
    # Surest of what is right: no excess.
    assert selective_accuracy(correct.astype(float), correct)['excess_aurc'] == pytest.approx(0)
    row = selective_accuracy(confidence, correct)['at'][2]
    kept = order[:45]
    assert row['accuracy'] == pytest.approx(correct[kept].mean())
    assert row['confidence'] == confidence[kept].min()


@pytest.mark.parametrize('coverage', [0.8, 0.9])
@pytest.mark.parametrize('n', [19, 99])
def test_conformal_sets_cover_as_often_as_stated(coverage, n):
    """Over 400 draws of held-out scores: at least the stated coverage, at most 1/(n+1) more."""
    covered = []
    for seed in range(400):
        logits, labels = drawn(n + 100, 4, 1.7, seed)
        chances = special.softmax(logits, axis=1)  # uncalibrated on purpose
        quantile = conformal_quantile(nonconformity(chances[:n], labels[:n]), coverage)
        sets = prediction_sets(chances[n:], quantile)
        covered.append(set_summary(sets, labels[n:])['coverage'])
    mean, error = np.mean(covered), np.std(covered) / 20
    assert coverage - 3.5 * error <= mean <= coverage + 1 / (n + 1) + 3.5 * error


def test_too_few_scores_give_no_quantile_and_the_set_of_all():
    assert conformal_quantile(np.arange(8) / 10, 0.9) is None
    assert conformal_quantile(np.arange(9) / 10, 0.9) == 0.8
    sets = prediction_sets(np.full((3, 2), 0.5), None)
    assert set_summary(sets, np.zeros(3, int)) == {
        'coverage': 1.0,
        'mean_size': 2.0,
        'share_single': 0.0,
        'share_empty': 0.0,
    }
    with pytest.raises(UserError, match='between 0 and 1'):
        conformal_quantile(np.zeros(3), 1.0)


def test_the_report_of_two_classes_is_scikit_learns():
    logits, labels = drawn(400, 2, 2.0, seed=7)
    fitted = fit_classes(logits[:200], labels[:200])
    report = class_report(logits[200:], labels[200:], fitted)
    for name, temperature in (('plain', 1.0), ('calibrated', fitted['temperature'])):
        chances = special.softmax(logits[200:] / temperature, axis=1)
        row = report[name]
        # Over both classes it is twice scikit-learn's.
        half = sklearn.metrics.brier_score_loss(labels[200:], chances[:, 1])
        assert row['brier'] == pytest.approx(2 * half)
        assert row['log_loss'] == pytest.approx(sklearn.metrics.log_loss(labels[200:], chances))
    chances = special.softmax(logits[:200] / fitted['temperature'], axis=1)[:, 1]
    best = max(
        sklearn.metrics.balanced_accuracy_score(labels[:200], chances >= cut) for cut in chances
    )
    found = sklearn.metrics.balanced_accuracy_score(labels[:200], chances >= fitted['threshold'])
    assert found == pytest.approx(best)
    assert reliability_lines(report)
    hot = np.stack([labels == 1, labels == 0, logits[:, 0] > 1], axis=1).astype(float)
    several = np.concatenate([logits, logits[:, :1]], axis=1)
    fitted = fit_several(several, hot)
    chances = special.expit(several / fitted['temperature'])
    best = max(
        sklearn.metrics.f1_score(hot.ravel(), chances.ravel() >= cut)
        for cut in np.unique(chances)[1:]
    )
    found = sklearn.metrics.f1_score(hot.ravel(), chances.ravel() >= fitted['threshold'])
    assert found == pytest.approx(best)


@pytest.mark.parametrize('labels', [[0], [1], [1, 1, 1]])
def test_one_example_or_one_class_has_a_report(labels):
    logits = np.random.default_rng(8).normal(0, 1, (len(labels), 2))
    fitted = fit_classes(logits, np.array(labels))
    report = class_report(logits, np.array(labels), fitted)
    assert fitted['threshold'] is None and report['plain']['n'] == len(labels)
    assert reliability_lines(report)


def test_energy_and_distances_are_scipys():
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 50, (20, 3))
    assert energy(logits) == pytest.approx(-special.logsumexp(logits, axis=1))
    labels = np.arange(300) % 3
    features = rng.normal(0, 1, (300, 4)) * [1, 2, 3, 4] + labels[:, None]
    found = Gaussians.fit(features, labels)
    gaps = features - np.stack([features[labels == c].mean(axis=0) for c in range(3)])[labels]
    # 300 examples of 4 dimensions: the shrunk covariance is close to the plain one.
    assert np.linalg.inv(found.precision) == pytest.approx(gaps.T @ gaps / 300, abs=0.5)
    new = rng.normal(0, 3, (10, 4))
    expected = [
        min(spatial.distance.mahalanobis(x, mean, found.precision) ** 2 for mean in found.means)
        for x in new
    ]
    assert found.distance(new) == pytest.approx(expected)
    wide = Gaussians.fit(rng.normal(0, 1, (6, 40)), np.arange(6) % 2)
    assert np.isfinite(wide.distance(rng.normal(0, 1, (3, 40)))).all()


def test_the_auroc_is_scikit_learns_with_ties():
    rng = np.random.default_rng(6)
    low, high = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 30).astype(float)
    truth = np.r_[np.zeros(40), np.ones(30)]
    assert auroc(low, high) == pytest.approx(sklearn.metrics.roc_auc_score(truth, np.r_[low, high]))
    told = separation(low, high)
    assert told['auroc_interval'][0] < told['auroc'] < told['auroc_interval'][1]
    assert told['n'] == [40, 30]
    for sets, right in (((np.zeros(5), np.ones(8)), 5), ((np.ones(5), np.zeros(8)), 0)):
        assert separation(*sets)['auroc_interval'] == [*wilson_interval(right, 5)]


@pytest.mark.parametrize('task', ['classification', 'multilabel'])
def test_a_fitted_threshold_gives_the_same_answers_without_the_temperature(task, monkeypatch):
    """The threshold is of probabilities after the temperature, here far from 1."""
    rng = np.random.default_rng(6)
    labels = (rng.random((4000, 2)) < 0.08).astype(int)
    logits = 3 * (3 * labels - 2.5 + 1.5 * rng.normal(size=labels.shape))
    if task == 'classification':
        logits[:, 0], labels = 0, labels[:, 1]
    fitted = task_of(task).calibration(logits[:2000], labels[:2000])
    assert fitted['temperature'] > 1.5
    trained = types.SimpleNamespace(init='run', threshold=None, class_names=())
    monkeypatch.setattr(options_module, 'read_calibration', lambda of: fitted)
    found, decide = {}, one_class if task == 'classification' else several_labels
    for calibrated in (True, False):
        options, _ = options_module.answer_options(
            trained, calibrated=calibrated, threshold='validation'
        )
        kept = options.temperature, options.threshold, options.before_temperature
        found[calibrated] = decide(logits[2000:], *kept)
        assert (options.temperature == 1) == (not calibrated)
    assert 100 < found[True][0][:, -1].sum() < 1000
    np.testing.assert_array_equal(found[False][0], found[True][0])
    np.testing.assert_allclose(found[False][1][:, -1], special.expit(logits[2000:, -1]))
