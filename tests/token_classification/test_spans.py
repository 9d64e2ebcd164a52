"""Spans and their metrics: by hand, and as seqeval has them."""

import json
import pathlib

import numpy as np
import pytest

from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.spans import scheme_of, told_spans
from ftjax.tasks import task_of
from ftjax.tasks.metrics_text import metrics_text
from ftjax.tasks.spans.span_errors import marked

CASES = json.loads((pathlib.Path(__file__).parent / 'span_goldens.json').read_text())
NAMES = ('O', 'B-LOC', 'I-LOC', 'B-ORG', 'I-ORG', 'B-PER', 'I-PER')


def pairs_of(true, answered, names=NAMES):
    """A batch of texts padded to one length, answered with certainty."""
    index = {name: number for number, name in enumerate(names)}
    width = max(map(len, true))
    labels = np.full((len(true), width), -1, np.int32)
    logits = np.zeros((len(true), width, len(names)), np.float32)
    for row, (one, other) in enumerate(zip(true, answered, strict=True)):
        for word, (tag, answer) in enumerate(zip(one, other, strict=True)):
            labels[row, word] = index[tag]
            logits[row, word, index[answer]] = 9.0
    return [(logits, {'labels': labels, 'mask': (labels >= 0).astype(np.float32)})]


# Every case has shapes, and so programs, of its own: the quick run takes every fourth.
@pytest.mark.parametrize(
    'number',
    [pytest.param(n, marks=[pytest.mark.slow] if n % 4 else []) for n in range(len(CASES))],
)
def test_spans_are_those_of_seqeval(number):
    case = CASES[number]
    got = task_of('token_classification').measure(
        pairs_of(case['true'], case['answered']), class_names=NAMES
    )
    report = case['report']
    if report['micro avg']['support'] == 0:
        assert got['span_f1'] is None
        return
    for ours, theirs in (('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')):
        assert got[f'span_{ours}'] == pytest.approx(report['micro avg'][theirs], abs=1e-12)
        for row in got['per_class']:
            known = report.get(row['name'], {theirs: 0.0, 'support': 0})
            assert row[ours] == pytest.approx(known[theirs], abs=1e-12)
            assert row['support'] == known['support']
    types = [row for name, row in report.items() if ' ' not in name and row['support']]
    assert got['span_f1_macro'] == pytest.approx(np.mean([row['f1-score'] for row in types]))


def test_three_words_by_hand():
    # True: a person of two words, then a place. Answered: the person, and another place.
    true, answered = [['B-PER', 'I-PER', 'B-LOC']], [['B-PER', 'I-PER', 'B-ORG']]
    got = task_of('token_classification').measure(pairs_of(true, answered), class_names=NAMES)
    assert (got['span_precision'], got['span_recall'], got['span_f1']) == (0.5, 0.5, 0.5)
    assert got['span_f1_macro'] == 0.5  # a person 1, a place 0; nobody asked for organisations
    assert got['word_accuracy'] == pytest.approx(2 / 3) and got['words'] == 3 and got['n'] == 1
    right, other = np.exp(9.0), 1.0
    total = np.log(right + 6 * other)
    assert got['loss'] == pytest.approx((2 * (total - 9) + total) / 3, rel=1e-6)
    assert got['confusions'] == [{'label': 'LOC', 'predicted': 'ORG', 'count': 1, 'share': 1.0}]
    assert 'span_f1        0.5000' in metrics_text(got)


def test_a_token_that_is_not_asked_for_changes_nothing():
    pairs = pairs_of([['B-PER', 'O', 'O']], [['B-PER', 'O', 'O']])
    logits, batch = pairs[0]
    labels = np.array([[5, -1, 0]], np.int32)  # the second token is the rest of a word
    batch = {'labels': labels, 'mask': (labels >= 0).astype(np.float32)}
    task = task_of('token_classification')
    before = task.measure([(logits, batch)], class_names=NAMES)
    logits[0, 1] = [0, 0, 0, 0, 0, 0, 99]
    assert task.measure([(logits, batch)], class_names=NAMES) == before
    assert before['span_f1'] == 1 and before['words'] == 2
    total, weight = task.loss(logits, batch)
    assert weight == 2 and total == pytest.approx(2 * np.log(1 + 6 * np.exp(-9)), rel=1e-3)


def test_plain_tags_are_runs_with_an_o_and_words_without():
    assert scheme_of(('O', 'PER')).named([1, 1, 0, 1]) == [('PER', 0, 2), ('PER', 3, 4)]
    assert scheme_of(('N', 'V')).named([0, 0, 1]) == [('N', 0, 1), ('N', 1, 2), ('V', 2, 3)]
    # Of parts of speech F1 over all is the accuracy.
    got = task_of('token_classification').measure(
        pairs_of([['N', 'N', 'V']], [['N', 'V', 'V']], ('N', 'V')), class_names=('N', 'V')
    )
    assert got['span_f1'] == got['word_accuracy'] == pytest.approx(2 / 3)


def test_intervals_resample_texts():
    rng = np.random.default_rng(0)
    # A text is answered wholly right or wholly wrong: words of one tell nothing new.
    right = rng.random(200) < 0.7
    true = [['B-PER'] * 10 for _ in right]
    answered = [['B-PER' if good else 'O'] * 10 for good in right]
    got = task_of('token_classification').measure(pairs_of(true, answered), class_names=NAMES)
    low, high = got['word_accuracy_interval']
    share = right.mean()
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 200), rel=0.1)


def test_perfect_spans_of_few_texts_have_an_interval():
    true = [['B-PER', 'I-PER'], ['O', 'B-LOC'], ['O', 'O']]  # the last has no span
    found = task_of('token_classification').measure(pairs_of(true, true), class_names=NAMES)
    for name, texts in (('span_precision', 2), ('span_f1', 2), ('word_accuracy', 3)):
        assert found[f'{name}_interval'] == [*wilson_interval(texts, texts)]


def test_spans_as_people_read_them():
    spans = [('PER', 0, 2), ('LOC', 3, 4)]
    text = 'Ada Lovelace saw Paris'
    assert told_spans(text, spans) == ['PER[0:2] Ada Lovelace', 'LOC[3:4] Paris']
    assert marked(text, spans) == '[Ada Lovelace](PER) saw [Paris](LOC)'


def test_mistakes_are_marked_in_their_text():
    from ftjax.data import Dataset

    task = task_of('token_classification')
    pairs = pairs_of([['B-PER', 'O'], ['B-LOC', 'O']], [['B-PER', 'O'], ['B-PER', 'B-PER']])
    found = task.collected(pairs)
    (mistake,) = task.mistakes(found, ['a', 'b'], NAMES)
    assert (mistake['id'], mistake['position']) == ('b', 1)
    data = Dataset(
        name='d',
        kind='text',
        inputs=['Ada wrote', 'Paris fell'],
        labels=[[5, 0], [1, 0]],
        class_names=NAMES,
        task='token_classification',
    )
    shown = task.in_context(mistake, data, 1)
    assert shown['texts'] == ['true: [Paris](LOC) fell', 'answered: [Paris](PER) [fell](PER)']
    (line,) = task.baselines(data.labels, found, NAMES, {})
    assert line.name == 'always O' and line.metrics['span_f1'] == 0
