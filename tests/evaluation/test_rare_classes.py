"""Metrics of rare classes against scikit-learn, and decision thresholds."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from ftjax.errors import UserError
from ftjax.evaluation import ranking_bootstrap
from ftjax.evaluation.auroc_interval import auroc_interval
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.predictions import softmax
from ftjax.evaluation.ranking import log_odds, sensitivity_at
from ftjax.tasks import evaluate, task_of
from ftjax.tasks.metrics import check_metric
from ftjax.tasks.metrics_text import metrics_text
from ftjax.tasks.threshold import choose, specificity

RNG = np.random.default_rng(0)


def rare(seed, n=300, positives=0.05, ties=False):
    """Logits of two classes, the second one rare; rounded so that scores tie."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < positives).astype(np.int32)
    labels[:2] = 0, 1
    logits = rng.normal(size=(n, 2)) + 1.5 * np.eye(2)[labels]
    return (np.round(logits, 0 if ties else 6)).astype(np.float32), labels


@pytest.mark.parametrize('ties', [False, True])
def test_two_classes_equal_scikit_learn(ties):
    logits, labels = rare(0, ties=ties)
    got, scores = evaluate(logits, labels), logits[:, 1].astype(np.float64) - logits[:, 0]
    answers = logits.argmax(1)
    assert got['auroc'] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert got['average_precision'] == pytest.approx(sk.average_precision_score(labels, scores))
    assert got['mcc'] == pytest.approx(sk.matthews_corrcoef(labels, answers))
    assert got['sensitivity'] == pytest.approx(sk.recall_score(labels, answers))
    assert got['specificity'] == pytest.approx(sk.recall_score(labels, answers, pos_label=0))
    false, true, _ = sk.roc_curve(labels, scores)
    want = true[false <= 0.05 + 1e-12].max()
    assert got['sensitivity_at_95_specificity'] == pytest.approx(want)
    # The first class is the second one's mirror image.
    assert got['per_class'][0]['auroc'] == pytest.approx(got['auroc'])
    want = sk.average_precision_score(1 - labels, -scores)
    assert got['per_class'][0]['average_precision'] == pytest.approx(want)


def test_many_classes_are_ranked_one_against_the_rest():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 6, 200)
    logits = (rng.normal(size=(200, 6)) + np.eye(6)[labels]).astype(np.float32)
    got, probabilities = evaluate(logits, labels), softmax(logits)
    want = sk.roc_auc_score(labels, probabilities, multi_class='ovr', average='macro')
    assert got['auroc'] == pytest.approx(want)
    hot = np.eye(6)[labels]
    want = sk.average_precision_score(hot, probabilities, average='macro')
    assert got['average_precision'] == pytest.approx(want)
    assert got['mcc'] == pytest.approx(sk.matthews_corrcoef(labels, logits.argmax(1)))
    assert got['sensitivity'] is None and got['sensitivity_at_95_specificity'] is None


def test_log_odds_rank_where_probabilities_are_all_one():
    logits = np.array([[0.0, 50.0, 1.0], [0.0, 60.0, 1.0], [0.0, 45.0, 44.0]])
    assert (softmax(logits)[:2, 1] == 1).all()
    p = softmax(logits)[2]
    np.testing.assert_allclose(log_odds(logits)[2], np.log(p) - np.log1p(-p), rtol=1e-9)
    np.testing.assert_allclose(
        log_odds(logits)[:2, 1], [50 - np.logaddexp(0, 1)] * 2 + np.r_[0, 10]
    )


def test_a_split_of_one_class_is_undefined_not_a_crash():
    logits, _ = rare(2, 20)
    for label in (0, 1):
        got = evaluate(logits, np.full(20, label, np.int32), ['well', 'ill'])
        for name in ('auroc', 'average_precision', 'mcc', 'sensitivity_at_95_specificity'):
            assert got[name] is None, name
        assert got[('specificity', 'sensitivity')[1 - label]] is None
        assert 'balanced accuracy' in metrics_text(got)
    task = task_of('classification')
    found = task.validate(
        [(logits, {'labels': np.zeros(20, np.int32), 'mask': np.ones(20)})], 'auroc'
    )
    assert np.isnan(found['score']) and np.isfinite(found['loss'])


def test_a_class_that_the_split_lacks_is_left_out_of_the_mean():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)  # of three classes
    logits = rng.normal(size=(60, 3)).astype(np.float32)
    got, odds = evaluate(logits, labels), log_odds(logits)
    each = [sk.roc_auc_score(labels == c, odds[:, c]) for c in (0, 1)]
    assert got['auroc'] == pytest.approx(np.mean(each))
    assert got['per_class'][2]['auroc'] is None


def test_metrics_are_asked_of_tasks_that_have_them():
    assert check_metric('mcc', 'classification', 2).higher_is_better
    with pytest.raises(UserError, match='undefined with 3 classes; expected two'):
        check_metric('sensitivity_at_95_specificity', 'classification', 3)


@pytest.mark.parametrize('seed', range(3))
def test_thresholds_are_the_best_of_all_cuts(seed):
    logits, labels = rare(seed, 120, 0.2, ties=seed == 2)
    sure = softmax(logits)[:, 1]
    cuts = [np.inf, *np.unique(sure)[::-1]]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        f1 = [sk.f1_score(labels, sure >= cut) for cut in cuts]
    at = choose('f1', labels, sure)
    assert sk.f1_score(labels, sure >= at) == pytest.approx(max(f1))
    false, true, where = sk.roc_curve(labels, sure, drop_intermediate=False)
    assert choose('youden', labels, sure) == where[np.argmax(true - false)]
    for least in (0.5, 0.9, 1.0):
        at = choose(f'specificity:{least}', labels, sure)
        reached = where[1 - false >= least - 1e-12].min()
        assert at == reached or (np.isinf(reached) and at > sure.max())


def test_a_specificity_that_is_reached_up_to_rounding_is_reached():
    positive = np.array([True] + [False] * 10)
    sure = np.array([0.5, *np.linspace(0.6, 0.9, 8), 0.2, 0.1])
    assert 1 - 8 / 10 < 0.2  # of ten others eight are above
    assert specificity(positive, sure, 0.2) == 0.5


def test_a_threshold_decides_answers_and_nothing_else():
    logits, labels = rare(4)
    task = task_of('classification')
    pairs = [(logits, {'labels': labels})]
    plain, low = task.measure(pairs), task.measure(pairs, ['well', 'ill'], 0.1)
    answers = softmax(logits)[:, 1] >= 0.1
    assert low['threshold'] == 0.1
    assert low['sensitivity'] == pytest.approx(sk.recall_score(labels, answers))
    assert low['accuracy'] == pytest.approx(sk.accuracy_score(labels, answers))
    assert low['sensitivity'] > plain['sensitivity']
    for name in ('auroc', 'average_precision', 'log_loss', 'ece', 'brier'):
        assert low[name] == plain[name], name
    assert 'ill from a probability of 0.1 on' in metrics_text(low)
    with pytest.raises(UserError, match='needs two classes; the network has 3'):
        task.measure([(np.zeros((2, 3)), {'labels': np.array([0, 1])})], None, 0.5)
    with pytest.raises(UserError, match='regression has no decision threshold'):
        task_of('regression').measure([(np.zeros((2, 1)), {'labels': np.zeros(2)})], None, 0.5)


def delong(scores, positive):
    """Area and variance as DeLong wrote them: pair by pair."""
    above, others = scores[positive], scores[~positive]
    psi = (above[:, None] > others) + 0.5 * (above[:, None] == others)
    area = psi.mean()
    found, rest = psi.mean(axis=1), psi.mean(axis=0)
    return area, found.var(ddof=1) / len(found) + rest.var(ddof=1) / len(rest)


@pytest.mark.parametrize('ties', [False, True])
def test_the_interval_of_the_area_has_the_variance_of_delong(ties):
    logits, labels = rare(1, 120, 0.2, ties)
    scores = log_odds(logits)[:, 1]
    area, variance = delong(scores, labels == 1)
    low, high = auroc_interval(scores[:, None], labels[:, None] == 1)
    reach = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    centre = np.log(area / (1 - area))
    np.testing.assert_allclose(
        np.log([low / (1 - low), high / (1 - high)]), [centre - reach, centre + reach]
    )
    result = evaluate(logits, labels)
    assert result['auroc_interval'] == [low, high] and low < result['auroc'] < high
    assert '95 % interval' in next(x for x in metrics_text(result).splitlines() if 'AUROC' in x)
    three = np.where(np.arange(120) % 3 == 2, 2, labels)  # the mean over three classes
    wide = np.column_stack([logits, RNG.normal(size=120)])
    several = evaluate(wide, three)
    assert several['auroc_interval'][0] < several['auroc'] < several['auroc_interval'][1]


def test_intervals_of_areas_at_their_ends():
    scores, labels = np.arange(8.0)[:, None], np.array([0] * 5 + [1] * 3)[:, None] == 1
    assert auroc_interval(scores, labels) == list(wilson_interval(3, 3))
    assert auroc_interval(-scores, labels) == list(wilson_interval(0, 3))
    assert auroc_interval(scores, labels | True) is None
    one = np.arange(8)[:, None] == 4  # no variance from a single positive
    assert auroc_interval(scores, one) is None
    assert auroc_interval(scores, labels, np.zeros(8)) is None


@pytest.mark.parametrize('of_groups', [False, True])
def test_the_interval_of_average_precision_is_a_bootstrap_of_scikit_learns(of_groups, monkeypatch):
    monkeypatch.setattr(ranking_bootstrap, 'RESAMPLES', 60)
    logits, labels = rare(2, 90, 0.2, ties=True)
    scores, positive = log_odds(logits)[:, 1], labels == 1
    groups = np.repeat(np.arange(30), 3) if of_groups else None
    unit = np.arange(90) if groups is None else groups
    draw, found = np.random.default_rng(0), []
    for _ in range(60):
        times = np.bincount(draw.integers(0, unit.max() + 1, unit.max() + 1), minlength=90)
        rows = np.repeat(np.arange(90), times[unit])
        found.append(sk.average_precision_score(labels[rows], scores[rows]))
    told = ranking_bootstrap.average_precision_interval(scores, positive, groups)
    np.testing.assert_allclose(told, np.percentile(found, [2.5, 97.5]))
    result = evaluate(logits, labels)
    low, high = result['average_precision_interval']
    assert low < result['average_precision'] < high
    one = np.zeros(90, bool)
    assert ranking_bootstrap.average_precision_interval(scores, one) is None
    assert ranking_bootstrap.average_precision_interval(scores, positive, np.zeros(90)) is None


def sensitivity_by_hand(labels, scores):
    false, true, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    return true[false <= 0.05 + 1e-12].max()


@pytest.mark.parametrize('of_groups', [False, True])
def test_the_interval_of_sensitivity_chooses_its_threshold_anew(of_groups, monkeypatch):
    monkeypatch.setattr(ranking_bootstrap, 'RESAMPLES', 60)
    logits, labels = rare(2, 90, 0.2, ties=True)
    scores, positive = log_odds(logits)[:, 1], labels == 1
    groups = np.repeat(np.arange(30), 3) if of_groups else None
    unit = np.arange(90) if groups is None else groups
    draw, found = np.random.default_rng(0), []
    for _ in range(60):
        times = np.bincount(draw.integers(0, unit.max() + 1, unit.max() + 1), minlength=90)
        rows = np.repeat(np.arange(90), times[unit])
        found.append(sensitivity_by_hand(labels[rows], scores[rows]))
    told = ranking_bootstrap.sensitivity_interval(0.95, scores, positive, groups)
    np.testing.assert_allclose(told, np.percentile(found, [2.5, 97.5]))
    result = evaluate(logits, labels)
    low, high = result['sensitivity_at_95_specificity_interval']
    assert low <= result['sensitivity_at_95_specificity'] <= high and low < high
    assert 'sensitivity at 95 % specificity' in metrics_text(result)
    one = np.zeros(90, bool)
    assert ranking_bootstrap.sensitivity_interval(0.95, scores, one) is None
    assert ranking_bootstrap.sensitivity_interval(0.95, scores, positive, np.zeros(90)) is None


@pytest.mark.parametrize('of_groups', [False, True])
def test_a_sensitivity_of_0_of_few_positives_has_a_width(of_groups):
    """Six positives below all of the highest others: as 0 of 6 right answers, or of 3 groups."""
    scores = np.r_[np.linspace(-2, 4, 200), [0.3, -0.2, 0.8, 1.0, 0.1, 0.6]]
    positive, groups = np.arange(206) >= 200, np.r_[np.arange(200), 300 + np.arange(6) // 2]
    assert sensitivity_at(0.95, scores, positive) == 0
    given = (0.95, scores, positive, groups if of_groups else None)
    wilson = stats.binomtest(0, 3 if of_groups else 6).proportion_ci(0.95, 'wilson')
    assert ranking_bootstrap.sensitivity_interval(*given) == [wilson.low, wilson.high]


def test_the_interval_of_sensitivity_holds_nearly_as_often_as_it_says(monkeypatch):
    """Normal scores 1.5 apart: of 300 draws of 50 positives and 150 others 88 to 98 % hold it."""
    monkeypatch.setattr(ranking_bootstrap, 'RESAMPLES', 200)
    rng, held, true = np.random.default_rng(0), 0, stats.norm.cdf(1.5 - stats.norm.ppf(0.95))
    positive = np.arange(200) < 50
    for _ in range(300):
        scores = rng.normal(size=200) + 1.5 * positive
        low, high = ranking_bootstrap.sensitivity_interval(0.95, scores, positive)
        held += low <= true <= high
    assert 0.88 <= held / 300 <= 0.98, held


@pytest.mark.parametrize('of_groups', [False, True])
def test_intervals_of_areas_hold_as_often_as_they_say(of_groups):
    """Normal scores of known area: of 400 draws of 80 examples 91 to 98 % hold it."""
    rng, held, true = np.random.default_rng(0), 0, stats.norm.cdf(1.2 / np.sqrt(2))
    for _ in range(400):
        labels = np.arange(80) % 4 == 0
        if of_groups:  # twenty patients with four examples each, which vary together
            noise = np.repeat(rng.normal(size=20), 4) * 0.7 + rng.normal(size=80) * np.sqrt(0.51)
            labels = np.repeat(np.arange(20) % 2 == 0, 4)
        else:
            noise = rng.normal(size=80)
        groups = np.repeat(np.arange(20), 4) if of_groups else None
        scores = 1.2 * labels + noise
        low, high = auroc_interval(scores[:, None], labels[:, None], groups)
        held += low <= true <= high
    assert 0.91 <= held / 400 <= 0.98, held


def test_wrong_thresholds_are_refused():
    sure = np.array([0.1, 0.2])
    with pytest.raises(UserError, match='which have one class'):
        choose('f1', np.zeros(2), sure)
    with pytest.raises(UserError, match="did you mean 'youden'"):
        choose('yuden', np.arange(2), sure)
    with pytest.raises(UserError, match='expected a number, at least 0 and at most 1'):
        choose('1.5', np.arange(2), sure)
    assert sensitivity_at(0.9, sure, np.zeros(2, bool)) is None
