"""Several labels an example: metrics equal to scikit-learn's, the loss, the validation score."""

import json

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from ftjax.errors import UserError
from ftjax.evaluation import ranking_bootstrap
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.tasks import LossOptions, evaluate, task_of
from ftjax.tasks.answers import AnswerOptions
from ftjax.tasks.metrics_text import metrics_text


def case(seed, n=80, classes=5):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.3).astype(np.float32)
    logits = (2 * labels - 1 + 2 * rng.normal(size=labels.shape)).astype(np.float32)
    return logits, labels


@pytest.mark.parametrize('seed', range(3))
def test_equals_scikit_learn(seed):
    logits, labels = case(seed)
    result = evaluate(logits, labels, task='multilabel', class_names=list('abcde'))
    found = logits > 0
    for average in ('micro', 'macro'):
        for name, function in (
            ('f1', sk.f1_score),
            ('precision', sk.precision_score),
            ('recall', sk.recall_score),
        ):
            want = function(labels, found, average=average, zero_division=0)
            assert result[f'{name}_{average}'] == pytest.approx(want, rel=1e-12)
        want = sk.average_precision_score(labels, logits, average=average)
        assert result[f'average_precision_{average}'] == pytest.approx(want, rel=1e-12)
    assert result['exact_match'] == sk.accuracy_score(labels, found)
    assert result['hamming_loss'] == pytest.approx(sk.hamming_loss(labels, found))
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    want = np.mean([sk.log_loss(labels[:, c], probabilities[:, c]) for c in range(5)])
    assert result['log_loss'] == pytest.approx(want, rel=1e-6)
    rows = result['per_class']
    assert [row['name'] for row in rows] == list('abcde')
    want = sk.f1_score(labels, found, average=None)
    np.testing.assert_allclose([row['f1'] for row in rows], want)
    want = sk.average_precision_score(labels, logits, average=None)
    np.testing.assert_allclose([row['average_precision'] for row in rows], want)
    assert [row['support'] for row in rows] == labels.sum(axis=0).tolist()
    for name in ('f1_micro', 'exact_match'):
        low, high = result[f'{name}_interval']
        assert low < result[name] < high
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_perfect_answers_of_few_examples_have_an_interval():
    labels = np.array([[1, 0], [0, 1], [0, 0]])  # the last one has no part in F1
    found = evaluate(9.0 * labels - 4, labels, task='multilabel')
    assert found['f1_micro'] == 1 and found['f1_micro_interval'] == [*wilson_interval(2, 2)]


def test_classes_that_do_not_occur_and_examples_without_labels():
    logits = np.array([[2.0, -1.0, -3.0], [-1.0, -1.0, -2.0], [1.0, -2.0, -1.0]])
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    result = evaluate(logits, labels, task='multilabel')
    want = sk.f1_score(labels, logits > 0, average='macro', zero_division=0)
    assert result['f1_macro'] == pytest.approx(want)
    assert result['per_class'][2]['average_precision'] is None
    want = sk.average_precision_score(labels[:, :2], logits[:, :2], average='macro')
    assert result['average_precision_macro'] == pytest.approx(want)
    none = evaluate(logits, np.zeros((3, 3)), task='multilabel')
    assert none['average_precision_micro'] is none['average_precision_macro'] is None
    assert none['f1_micro'] == 0
    assert json.dumps(none, allow_nan=False) and '-' in metrics_text(none)


@pytest.mark.parametrize('of_groups', [False, True])
def test_intervals_of_average_precision_are_a_bootstrap_of_scikit_learns(of_groups, monkeypatch):
    monkeypatch.setattr(ranking_bootstrap, 'RESAMPLES', 40)
    logits, labels = case(3, 48, 3)
    logits, unit = np.round(logits), np.arange(48) // (4 if of_groups else 1)  # with equal scores
    labels[:, 2] = np.arange(48) == 5  # which many a resample lacks
    draw, micro, macro = np.random.default_rng(0), [], []
    for _ in range(40):
        times = np.bincount(draw.integers(0, unit.max() + 1, unit.max() + 1), minlength=48)
        rows = np.repeat(np.arange(48), times[unit])
        occur = labels[rows].any(axis=0)
        micro.append(sk.average_precision_score(labels[rows], logits[rows], average='micro'))
        each = sk.average_precision_score(labels[rows][:, occur], logits[rows][:, occur])
        macro.append(each)
    batch = {'labels': labels, 'index': np.arange(48)}
    groups = [f'{i:02d}' for i in unit] if of_groups else ()
    result = task_of('multilabel').measure([(logits, batch)], list('abc'), groups=groups)
    for name, found in (('micro', micro), ('macro', macro)):
        told = result[f'average_precision_{name}_interval']
        np.testing.assert_allclose(told, np.percentile(found, [2.5, 97.5]), err_msg=name)
        assert f'{name} average precision' in metrics_text(result)


def test_the_text_has_every_class_and_the_averages():
    logits, labels = case(0)
    result = evaluate(logits, labels, task='multilabel', class_names=list('abcde'))
    text = metrics_text(result)
    assert f'{result["f1_macro"]:.3f}' in text and f'{result["exact_match"]:.4f}' in text
    assert all(f'\n{" " * 9}{name}' in text for name in 'abcde')


def test_each_label_has_the_threshold_with_the_best_f1_of_its_own():
    logits, labels = case(7)
    labels[:, 4] = 0  # nothing to choose by
    task, sure = task_of('multilabel'), 1 / (1 + np.exp(-logits.astype(float)))
    pairs = [(logits, {'labels': labels})]
    at = task.threshold('f1', task.collected(pairs))
    assert isinstance(at, tuple) and at[4] == 0.5
    for c in range(4):
        best = max(sk.f1_score(labels[:, c], sure[:, c] >= cut) for cut in np.unique(sure[:, c]))
        assert sk.f1_score(labels[:, c], sure[:, c] >= at[c] - 1e-12) == pytest.approx(best)
    plain, result = task.measure(pairs), task.measure(pairs, list('abcde'), at)
    answers = sure >= np.array(at) - 1e-12
    assert result['f1_macro'] == pytest.approx(
        sk.f1_score(labels, answers, average='macro', zero_division=0)
    )
    assert result['f1_macro'] > plain['f1_macro'] and result['threshold'] == list(at)
    assert result['average_precision_macro'] == plain['average_precision_macro']
    options = AnswerOptions(threshold=at, before_temperature=True, temperature=3.0)
    told = task.answers(logits, list('abcde'), options)['predicted']
    assert told == ['|'.join(np.array(list('abcde'))[row]) for row in answers]
    assert 'answered from a probability of: a 0.' in metrics_text(result)
    worst = task.mistakes(task.decided(task.collected(pairs), at), list(map(str, range(80))), ())
    assert len(worst) == min(20, int((answers != labels).any(axis=1).sum()))
    with pytest.raises(UserError, match='2 decision thresholds for 5 labels'):
        task.measure(pairs, None, (0.5, 0.5))


def test_errors_name_the_fault():
    good = np.zeros((3, 2))
    with pytest.raises(UserError, match=r'\(3,\) beside logits of \(3, 2\)'):
        evaluate(good, np.zeros(3), task='multilabel')
    with pytest.raises(UserError, match='must be 0 or 1'):
        evaluate(good, good + 0.5, task='multilabel')
    with pytest.raises(NonFinitePredictions):
        evaluate(good * np.nan, good, task='multilabel')
    with pytest.raises(UserError, match='no examples'):
        evaluate(good[:0], good[:0], task='multilabel')
    with pytest.raises(UserError, match='3 class names'):
        evaluate(good, good, task='multilabel', class_names='abc')


def losses(logits, labels, smoothing=0.0):
    options = LossOptions(label_smoothing=smoothing)
    return task_of('multilabel').losses(logits, {'labels': labels}, options)


def test_the_loss_is_the_mean_binary_cross_entropy():
    logits, labels = case(1, 6, 3)
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    want = -(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities)).mean(1)
    got = losses(logits, labels)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    smooth = losses(logits, labels, 0.2)
    soft = labels * 0.8 + 0.1
    want = -(soft * np.log(probabilities) + (1 - soft) * np.log(1 - probabilities)).mean(1)
    np.testing.assert_allclose(smooth, want, rtol=1e-5)
    huge = losses(np.float32([[500, -500]]), np.float32([[0, 1]]))
    assert huge.tolist() == [500.0]
    grad = jax.grad(lambda x: losses(x, labels).sum())(logits)
    np.testing.assert_allclose(grad, (probabilities - labels) / 3, rtol=1e-4, atol=1e-6)


def test_validation_in_padded_batches_equals_the_metrics_of_the_whole():
    logits, labels = case(2, 50)
    pairs = []
    order = np.random.default_rng(0).permutation(50)
    for start in range(0, 50, 16):
        rows = order[start : start + 16]
        fill = np.concatenate([rows, np.repeat(rows[:1], 16 - len(rows))])
        mask = (np.arange(16) < len(rows)).astype(np.float32)
        batch = {'labels': labels[fill], 'mask': mask, 'index': fill.astype(np.int32)}
        pairs.append((logits[fill], batch))
    want = evaluate(logits, labels, task='multilabel')
    got = task_of('multilabel').validate(pairs)
    assert got['f1_micro'] == got['score'] == pytest.approx(want['f1_micro'], rel=1e-12)
    assert got['loss'] == pytest.approx(want['log_loss'], rel=1e-6)
    assert task_of('multilabel').measure(pairs) == want
    silent = [(-np.ones((2, 3), 'f4'), {'labels': np.zeros((2, 3), 'f4'), 'mask': np.ones(2)})]
    assert task_of('multilabel').validate(silent)['score'] == 0.0
