"""Every classification number equals scikit-learn's on the whole array."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from ftjax.errors import UserError
from ftjax.evaluation.calibration.calibration import calibration_gap, reliability
from ftjax.evaluation.intervals import bootstrap_mean_interval, wilson_interval
from ftjax.evaluation.mistakes import confident_answers, confused_pairs
from ftjax.evaluation.prediction_figures import calibration_figure, confusion_matrix_figure
from ftjax.evaluation.predictions import NonFinitePredictions, softmax
from ftjax.plotting.save import save_figure
from ftjax.tasks import evaluate, task_of
from ftjax.tasks.classes.class_table import confusion_text
from ftjax.tasks.metrics_text import metrics_text


def case(seed, n, classes, skill=1.5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += skill
    return logits, labels.astype(np.int32)


@pytest.mark.parametrize('seed,n,classes', [(0, 97, 10), (1, 40, 3), (2, 500, 2), (3, 12, 30)])
def test_equals_scikit_learn(seed, n, classes):
    logits, labels = case(seed, n, classes)
    result = evaluate(logits, labels)
    predicted = logits.argmax(1)
    assert result['accuracy'] == pytest.approx(sk.accuracy_score(labels, predicted))
    for average in ('macro', 'weighted'):
        for name, score in (
            ('precision', sk.precision_score),
            ('recall', sk.recall_score),
            ('f1', sk.f1_score),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                expected = score(labels, predicted, average=average)
            assert result[f'{name}_{average}'] == pytest.approx(expected), (name, average)
    expected = sk.log_loss(labels, softmax(logits), labels=np.arange(classes))
    assert result['log_loss'] == pytest.approx(expected, rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        expected = sk.balanced_accuracy_score(labels, predicted)
    assert result['balanced_accuracy'] == pytest.approx(expected)
    matrix = sk.confusion_matrix(labels, predicted, labels=np.arange(classes))
    assert result['confusion_matrix'] == matrix.tolist()
    if classes > 5:
        top = sk.top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes))
        assert result['top5_accuracy'] == pytest.approx(top)
    else:
        assert result['top5_accuracy'] is None
    f1 = sk.f1_score(labels, predicted, labels=np.arange(classes), average=None, zero_division=0)
    np.testing.assert_allclose([row['f1'] for row in result['per_class']], f1)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_masked_batches_equal_the_whole_array():
    logits, labels = case(4, 50, 4)
    pairs = []
    for start in range(0, 50, 16):
        rows, truth = logits[start : start + 16], labels[start : start + 16]
        short = 16 - len(rows)
        # Padding that would raise accuracy if it were counted.
        rows = np.concatenate([rows, np.tile([[9.0, 0, 0, 0]], (short, 1))]).astype(np.float32)
        truth = np.concatenate([truth, np.zeros(short, np.int32)])
        mask = (np.arange(16) < 16 - short).astype(np.float32)
        index = start + np.arange(16)
        pairs.append((rows, {'labels': truth, 'mask': mask, 'index': index}))
    assert task_of('classification').measure(pairs) == evaluate(logits, labels)


def test_log_loss_survives_huge_logits():
    logits = np.array([[2000.0, 0.0], [0.0, 2000.0]])
    result = evaluate(logits, np.array([1, 1]))
    assert result['log_loss'] == pytest.approx(1000.0)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 4)
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    # .9 sure and 3/4 right; .6 sure and 1/2 right.
    expected = 0.5 * abs(0.75 - 0.9) + 0.5 * abs(0.5 - 0.6)
    right = probabilities.argmax(axis=1) == labels
    assert calibration_gap(probabilities.max(axis=1), right, 10) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 40_000)
    assert calibration_gap(confidence, rng.uniform(size=40_000) < confidence) < 0.01


def test_wilson_interval_closed_form_and_edges():
    k, n, z = 83, 100, 1.959963984540054
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    np.testing.assert_allclose(wilson_interval(k, n), (centre - half, centre + half), rtol=1e-9)
    assert wilson_interval(0, 20)[0] == 0
    assert 0.8 < wilson_interval(20, 20)[0] < 0.9


def test_bootstrap_interval_agrees_with_the_normal_one():
    values = np.random.default_rng(1).normal(3, 2, 2000)
    low, high = bootstrap_mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)
    assert bootstrap_mean_interval(values) == [low, high]
    assert bootstrap_mean_interval(np.array([1.0])) is None


def test_errors_name_the_fault():
    logits, labels = case(5, 6, 3)
    with pytest.raises(UserError, match=r'label 3 of example 2 is outside 0\.\.2'):
        evaluate(logits, np.array([0, 1, 3, 0, 0, 0]))
    with pytest.raises(UserError, match='integers, not float'):
        evaluate(logits, labels.astype(np.float32))
    with pytest.raises(UserError, match='2 class names for a network of 3'):
        evaluate(logits, labels, ['a', 'b'])
    with pytest.raises(UserError, match='no examples'):
        task_of('classification').measure([])
    logits[1, 2] = np.nan
    logits[3] = np.inf
    with pytest.raises(NonFinitePredictions, match='2 of 6 predictions'):
        evaluate(logits, labels)


def test_confident_mistakes_are_sorted_and_named():
    logits = np.array([[5.0, 0, 0], [0, 3, 0], [0, 0, 1], [4, 0, 0], [0, 9, 0]])
    labels = np.array([0, 2, 0, 1, 1])
    predicted, probabilities = logits.argmax(1), softmax(logits)
    both = (probabilities[range(5), classes] for classes in (predicted, labels))
    found = confident_answers(labels, predicted, *both, list('abcde'), ['x', 'y', 'z'], limit=2)
    assert [row['id'] for row in found] == ['d', 'b']
    assert (found[0]['label'], found[0]['predicted']) == ('y', 'x')
    assert found[0]['confidence'] == pytest.approx(np.exp(4) / (np.exp(4) + 2))
    assert found[0]['label_probability'] == pytest.approx(1 / (np.exp(4) + 2))
    pairs = confused_pairs(evaluate(logits, labels, ['x', 'y', 'z']))
    assert {(p['label'], p['predicted'], p['count'], p['share']) for p in pairs} == {
        ('z', 'y', 1, 1.0),
        ('x', 'z', 1, 0.5),
        ('y', 'x', 1, 0.5),
    }


def test_text_shows_every_class_and_the_interval():
    logits, labels = case(6, 60, 3)
    result = evaluate(logits, labels, ['ant', 'bee', 'moth'])
    text = metrics_text(result)
    low, high = result['accuracy_interval']
    assert f'{low:.4f} to {high:.4f}' in text
    bee = next(line.split() for line in text.splitlines() if 'bee' in line)
    assert bee[1:] == [
        f'{result["per_class"][1][k]:.3f}' for k in ('precision', 'recall', 'f1')
    ] + [str(result['per_class'][1]['support'])]
    counts = confusion_text(result).splitlines()[2].split()
    assert counts == ['bee', *map(str, result['confusion_matrix'][1])]


def test_figures_are_written_whole_and_reproducibly(tmp_path):
    logits, labels = case(7, 60, 3)
    result = evaluate(logits, labels, ['ant', 'bee', 'moth'])
    save_figure(confusion_matrix_figure(result, 'test split'), tmp_path / 'a.png')
    save_figure(confusion_matrix_figure(result, 'test split'), tmp_path / 'b.png')
    rows = reliability(softmax(logits), labels, 15)
    save_figure(calibration_figure(rows), tmp_path / 'c.svg')
    first = (tmp_path / 'a.png').read_bytes()
    assert first.startswith(b'\x89PNG') and first == (tmp_path / 'b.png').read_bytes()
    assert b'</svg>' in (tmp_path / 'c.svg').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'b.png', 'c.svg']
