"""Metrics of retrieval and of similarity: by hand, and as scipy and scikit-learn have them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ftjax.data.audit.quick import leak_line, quick_audit
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.runs.report.answer import counted
from ftjax.tasks import task_of
from ftjax.tasks.metrics_text import metrics_text
from ftjax.tasks.retrieval.retrieval import measures
from ftjax.tasks.statistics import Statistics


def pair_batch(anchors, positives, numbers):
    """Unit vectors of two numbers at these angles in degrees."""
    angles = np.deg2rad(np.stack([anchors, positives], axis=1))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)
    labels = np.concatenate([np.asarray(numbers), np.full((len(numbers), 1), -1)], axis=1)
    return [(vectors, {'labels': labels, 'mask': np.ones(len(labels), np.float32)})]


def test_three_queries_by_hand():
    # Positives at 0, 90 and 180 degrees; anchors at 10 (finds its own), 80 (its own is the third
    # choice) and 100 (its own is second).
    pairs = pair_batch([10, 80, 100], [0, 180, 90], [[0, 10], [1, 11], [2, 12]])
    got = task_of('embedding').measure(pairs)
    # Nearest to 80: 90, then 0, then 180. Nearest to 100: 90.
    assert got['recall_at_1'] == pytest.approx(2 / 3) and got['recall_at_5'] == 1
    assert got['mrr_at_10'] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert got['ndcg_at_10'] == pytest.approx((1 + 1 / np.log2(4) + 1) / 3)
    assert (got['n'], got['queries'], got['candidates']) == (3, 3, 3)
    assert 'ndcg_at_10' in metrics_text(got)


def test_equal_texts_are_one_query_and_one_candidate():
    # The first and second anchor are one text with two positives; the third shares one of them.
    pairs = pair_batch([0, 0, 90], [0, 90, 90], [[0, 10], [0, 11], [2, 11]])
    got = task_of('embedding').measure(pairs)
    assert (got['queries'], got['candidates']) == (2, 2)
    # Of two that belong to the first query one is first: recall 1/2; all are found within five.
    assert got['recall_at_1'] == pytest.approx((1 / 2 + 1) / 2) and got['recall_at_5'] == 1
    assert got['ndcg_at_10'] == 1


def test_a_text_is_no_answer_to_itself_unless_it_is_its_own_positive():
    # Pairs in both directions: at 0 and 40 degrees, at 90 and 130.
    pairs = pair_batch([0, 40, 90, 130], [40, 0, 130, 90], [[0, 1], [1, 0], [2, 3], [3, 2]])
    got = task_of('embedding').measure(pairs)
    assert (got['recall_at_1'], got['queries'], got['candidates']) == (1, 4, 4)
    # Nearest to 0 is 30, which belongs to another; the text itself is nearest, and is wanted.
    pairs = pair_batch([0, 0, 90], [0, 50, 30], [[0, 0], [0, 1], [2, 3]])
    got = task_of('embedding').measure(pairs)
    assert got['recall_at_1'] == pytest.approx((1 / 2 + 0) / 2)


def test_texts_of_classes_look_for_the_others():
    angles = np.deg2rad([0, 10, 90, 100, 45])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.stack([np.arange(5), [0, 0, 1, 1, 2]], axis=1)
    batch = {'labels': labels, 'mask': np.ones(5, np.float32)}
    got = task_of('embedding').measure([(vectors, batch)])
    assert (got['queries'], got['candidates']) == (4, 4)  # the fifth is alone with its class
    assert got['recall_at_1'] == 1 and got['ndcg_at_10'] == 1
    # Four of four by Wilson (1927): 4 / (4 + 1.96^2) to 1.
    assert got['recall_at_1_interval'] == pytest.approx([4 / (4 + 1.959964**2), 1])


def test_the_positive_of_a_triplet_and_mistakes():
    from ftjax.data import Dataset

    vectors = np.array([[[1, 0], [1, 0], [0, 1]], [[1, 0], [0, 1], [1, 0]]], np.float32)
    labels = np.array([[0, 10, 20, -1], [1, 11, 21, -1]])
    batch = {'labels': labels, 'mask': np.ones(2, np.float32)}
    task = task_of('embedding')
    found = task.collected([(vectors, batch)])
    assert 'vectors' not in found.rows  # what a run keeps is small
    assert task.measured(found)['triplet_accuracy'] == 0.5
    (worst,) = task.mistakes(found, ['a', 'b'], ())
    assert worst['id'] == 'b' and worst['ndcg_at_10'] < 1
    data = Dataset(
        name='d',
        kind='text',
        inputs=[('a', 'b', 'c'), ('d', 'e', 'f')],
        labels=labels,
        task='embedding',
    )
    assert task.in_context(worst, data, 1)['texts'] == ['nearest: b']


def test_the_nearest_text_may_be_a_negative():
    """Of the first anchor it is the negative of the second row: 'f', not its positive 'e'."""
    vectors = np.array([[[1, 0], [0, 1], [-1, 0]], [[0, -1], [-1, 0.1], [1, 0.01]]], np.float32)
    labels = np.array([[0, 10, 20, -1], [1, 11, 21, -1]])
    task = task_of('embedding')
    found = task.collected([(vectors, {'labels': labels, 'mask': np.ones(2, np.float32)})])
    mistake = next(m for m in task.mistakes(found, ['a', 'b'], ()) if m['id'] == 'a')
    data = SimpleNamespace(inputs=[('a', 'b', 'c'), ('d', 'e', 'f')])
    assert task.in_context(mistake, data, 0)['texts'] == ['nearest: f']


def test_a_list_of_positives_is_no_negative_and_scores_are_of_two_texts(tmp_path):
    def read(task, **row):
        (tmp_path / 'a.jsonl').write_text('\n'.join([json.dumps(row)] * 9))
        return load_data(DataSettings(source=f'jsonl:{tmp_path}/a.jsonl', task=task))

    with pytest.raises(UserError, match=r"'positive' holds a list; .*: write a row for each"):
        read('embedding', anchor='a', positive=['b', 'c'])
    for more in ({'text': 'a'}, {'anchor': 'a', 'positive': 'b', 'negative': 'c'}):
        with pytest.raises(UserError, match=r'line 1: texts: [13]; expected two'):
            read('text_similarity', score=0.5, **more)


def test_gains_are_those_of_scikit_learn():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    wanted = rng.random((40, 12)) < 0.3
    wanted[~wanted.any(axis=1), 0] = True
    scores = rng.normal(size=wanted.shape)
    order = np.argsort(-scores, axis=1)[:, :10]
    hits = np.take_along_axis(wanted, order, axis=1)
    gains = measures(hits, wanted.sum(axis=1))[2]
    want = [ndcg_score([w], [s], k=10) for w, s in zip(wanted.astype(int), scores, strict=True)]
    np.testing.assert_allclose(gains, want, atol=1e-12)


def test_correlations_are_those_of_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 2, 8)).astype(np.float32)
    scores = np.round(rng.random(50), 1).astype(np.float32)  # ties among them
    batch = {'labels': scores, 'mask': np.ones(50, np.float32)}
    got = task_of('text_similarity').measure([(vectors, batch)])
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = (unit[:, 0] * unit[:, 1]).sum(-1)
    assert got['spearman'] == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-6)
    assert got['pearson'] == pytest.approx(stats.pearsonr(cosines, scores).statistic, abs=1e-6)
    assert got['cosine_mse'] == pytest.approx(np.square(cosines - scores).mean(), abs=1e-6)
    low, high = got['spearman_interval']
    assert low < got['spearman'] < high


def test_a_correlation_of_equal_scores_is_undefined():
    vectors = np.random.default_rng(0).normal(size=(5, 2, 4))
    batch = {'labels': np.ones(5, np.float32), 'mask': np.ones(5, np.float32)}
    got = task_of('text_similarity').measure([(vectors, batch)])
    assert got['spearman'] is None and got['cosine_mse'] > 0
    equal = np.full(7, 0.7)  # the mean of these is not exactly 0.7
    assert equal.std() > 0
    rows = {'cosine': equal, 'score': np.arange(7.0)}
    assert task_of('text_similarity').values(Statistics(rows))['pearson'] is None


def test_candidates_and_leaked_positives_are_said(tmp_path):
    """On the first screen, in the metrics for a terminal, and in a report's sentence."""
    rows = {
        'train': [('red', 'one'), ('blue', 'two')],
        'val': [('green', 'six')],
        'test': [('black', 'two'), ('white', 'red'), ('pink', 'nine')],
    }
    for name, pairs in rows.items():
        lines = [json.dumps({'anchor': a, 'positive': b}) for a, b in pairs]
        (tmp_path / f'{name}.jsonl').write_text('\n'.join(lines))
    data = load_data(DataSettings(source=f'jsonl:{tmp_path}', task='embedding'))
    audit = quick_audit(data)
    assert audit.leaks()['test']['positives_in_training'] == 2  # an anchor of training counts too
    assert leak_line(audit).endswith(
        'near, 0 of 1 positives · test 0 exact, 0 near, 2 of 3 positives'
    )
    task = task_of('embedding')
    outputs = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    metrics = task.measure([(outputs, {'labels': data.test.labels, 'mask': np.ones(3)})])
    metrics |= data.label_kind.shared_with_training(data.train.inputs, data.test.inputs)
    first = task.text(metrics).splitlines()[0]
    assert first == (
        'queries     3, each among 3 candidates; 2 of 3 positives stand in training too'
    )
    assert len(task.text(metrics).splitlines()) == 6
    report = SimpleNamespace(result={'metrics': metrics}, config={}, kept=None)
    assert counted(report) == '3 examples, each query among 3 candidates'
    ranked = task_of('text_ranking')
    relevance = np.array([[1, 0, -1], [1, 0, 2]], np.float32)
    metrics = ranked.measure([(np.ones((2, 3, 1)), {'labels': relevance})])
    assert metrics['candidates'] == 2.5 and '2.5 candidates' in ranked.text(metrics)
