"""Multiple choice and ranking of texts: by hand, from files, and through a run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data.labels.choices import Choices, Relevance
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.data.unlabelled.chunks import Reading, chunks
from ftjax.data.unlabelled.items import Item
from ftjax.errors import UserError
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks import task_of
from ftjax.tasks.task import LossOptions

TINY = {'vocab_size': 128, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16, 'max_positions': 16}


def jsonl(path, rows):
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return f'jsonl:{path}'


def read(source, task, **changes):
    given = {'test_fraction': 0.0, 'val_fraction': 0.0, **changes}
    return load_data(DataSettings(source=source, task=task, **given)).train


def test_three_choices_by_hand():
    scores = np.log(np.array([[1.0, 2.0, 1.0], [4.0, 2.0, 2.0]]))[..., None]
    batch = {'labels': np.array([[1, 3], [2, 3]]), 'mask': np.ones(2, np.float32)}
    task = task_of('multiple_choice')
    got = task.measure([(scores, batch)])
    assert got['accuracy'] == 0.5
    assert got['log_loss'] == pytest.approx((np.log(2) + np.log(4)) / 2)
    total, weight = task.loss(scores.astype(np.float32), batch)
    assert float(total / weight) == pytest.approx(got['log_loss'], rel=1e-6)
    found = task.collected([(scores, batch)])
    (worst,) = task.mistakes(found, ['a', 'b'], ())
    assert (worst['id'], worst['label'], worst['predicted']) == ('b', 2, 0)
    assert worst['label_probability'] == pytest.approx(0.25)


def test_choices_that_are_not_there_count_for_nothing():
    """The last of three is empty: probabilities, loss, gradient and smoothing are of two."""
    scores = np.log(np.array([[1.0, 3.0, 99.0], [4.0, 2.0, 2.0]]))[..., None]
    batch = {'labels': np.array([[0, 2], [2, 3]]), 'mask': np.ones(2, np.float32)}
    task = task_of('multiple_choice')
    got = task.measure([(scores, batch)])
    assert got['accuracy'] == 0
    assert got['log_loss'] == pytest.approx((np.log(4) + np.log(4)) / 2)

    def loss(scores, smoothing=0.0):
        return task.loss(scores, batch, LossOptions(label_smoothing=smoothing))[0]

    assert float(loss(scores.astype(np.float32))) == pytest.approx(2 * np.log(4), rel=1e-6)
    assert not jax.grad(loss)(scores.astype(np.float32))[0, 2]
    first = 0.8 * np.log(4) + 0.2 * (np.log(4) + np.log(4 / 3)) / 2
    second = 0.8 * np.log(4) + 0.2 * (np.log(2) + 2 * np.log(4)) / 3
    assert float(loss(scores.astype(np.float32), 0.2)) == pytest.approx(first + second, rel=1e-6)
    given = task.answers_to([['q', 'a', 'b', ''], ['q', 'a', 'b', 'c']], scores)
    assert given['predicted'].tolist() == [1, 0] and given['choice'] == ['b', 'a']
    assert given['probabilities'] == ['0.25 0.75', '0.5 0.25 0.25']
    ranked = task_of('text_ranking').answers_to([['q', 'a', 'b', ''], ['q', 'a', 'b', 'c']], scores)
    assert ranked['predicted'] == ['1 0', '0 1 2'] and ranked['first'] == ['b', 'a']


def test_rows_with_fewer_choices_than_others(tmp_path):
    rows = [
        {'question': 'a', 'choices': ['b', 'c'], 'label': 1},
        {'question': 'e', 'choices': ['f', 'g', 'h'], 'label': 2},
    ]
    found = read(jsonl(tmp_path / 'a.jsonl', rows), 'multiple_choice')
    assert found.inputs[0].tolist() == ['a', 'b', 'c', '']
    assert found.labels.tolist() == [[1, 2], [2, 3]]
    assert '2 to 3 choices each' in found.label_kind.summary(found.labels)
    header = 'sent1,ending0,ending1,ending2,ending3,label\n'
    (tmp_path / 'a.csv').write_text(f'{header}a,b,c,,,1\nd,e,f,g,h,3\n')
    found = read(f'csv:{tmp_path}/a.csv', 'multiple_choice')
    assert found.labels.tolist() == [[1, 2], [3, 4]]
    (tmp_path / 'a.csv').write_text(f'{header}a,b,c,,d,1\n')
    with pytest.raises(UserError, match=r"a.csv line 2: 'ending2' is ''"):
        read(f'csv:{tmp_path}/a.csv', 'multiple_choice')
    rows = [{'question': 'a', 'choices': ['b', 'c'], 'label': 1}, {**rows[1], 'label': 3}]
    with pytest.raises(UserError, match=r'a.jsonl line 2: choice 3 of 3; expected 0 to 2'):
        read(jsonl(tmp_path / 'a.jsonl', rows), 'multiple_choice')
    pair = {'anchor': 'a', 'positive': 'b'}
    rows = [{**pair, 'negative': ['c', 'd']}, {**pair, 'negative': ['c']}]
    with pytest.raises(UserError, match=r'a.jsonl line 2: 3 texts, and 4 in .*a.jsonl line 1'):
        read(jsonl(tmp_path / 'a.jsonl', rows), 'embedding')


def test_three_candidates_by_hand():
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]])[..., None]
    # The best is second; then one of two candidates alone; then nothing is relevant.
    relevance = np.array([[0, 2, 1], [0, 1, -1], [0, 0, 0]], np.float32)
    batch = {'labels': relevance, 'mask': np.ones(3, np.float32)}
    task = task_of('text_ranking')
    got = task.measure([(scores, batch)])
    discounts = 1 / np.log2([2, 3, 4])
    first = (2 * discounts[1] + discounts[2]) / (2 * discounts[0] + discounts[1])
    assert got['ndcg_at_10'] == pytest.approx((first + discounts[1]) / 2)
    assert got['mrr_at_10'] == 0.5 and got['queries'] == 2 and got['n'] == 3
    total, weight = task.loss(scores.astype(np.float32), batch)
    logs = np.log(np.exp([3.0, 2, 1]) / np.exp([3.0, 2, 1]).sum())
    pair = np.log(np.exp([3.0, 2]) / np.exp([3.0, 2]).sum())
    want = -(2 / 3 * logs[1] + 1 / 3 * logs[2]) - pair[1]
    assert weight == 2 and float(total) == pytest.approx(want, rel=1e-5)
    grads = jax.grad(lambda s: task.loss(s, batch)[0])(scores.astype(np.float32))
    assert np.isfinite(grads).all() and not grads[2].any() and not grads[1, 2]


def test_equal_scores_win_nothing_by_the_order_of_the_data():
    batch = {'labels': np.array([[1.0, 0, 0, -1]]), 'mask': np.ones(1)}
    got = task_of('text_ranking').measure([(np.zeros((1, 4, 1)), batch)])
    assert got['mrr_at_10'] == pytest.approx(1 / 3)
    assert got['ndcg_at_10'] == pytest.approx(1 / np.log2(4))


def test_nothing_to_rank_and_empty_texts_before_others_are_refused(tmp_path):
    def ranking(relevance, candidates):
        row = {'query': 'q', 'candidates': candidates, 'relevance': relevance}
        return read(jsonl(tmp_path / 'a.jsonl', [row] * 3), 'text_ranking')

    for relevance, candidates in (([0, 0], 'ab'), ([1, 1], 'ab'), ([1], 'a')):
        with pytest.raises(UserError, match='equally relevant'):
            ranking(relevance, [*candidates])
    with pytest.raises(UserError, match='line 1: no candidates'):
        ranking([], [])
    for prompt, choices in (('q', ['a', '', 'c']), (['q', 'r'], ['a', 'b'])):
        rows = [{'prompt': prompt, 'choices': choices, 'label': 0}]
        with pytest.raises(UserError, match='holds'):
            read(jsonl(tmp_path / 'b.jsonl', rows), 'multiple_choice')
    kind, three = Choices(), [('', 'a', 'b'), ('q', 'a', '')]
    assert kind.of_inputs(three[:1], np.array([[1]]), str).tolist() == [[1, 2]]
    with pytest.raises(UserError, match='1 choices'):
        kind.of_inputs(three, np.array([[1], [0]]), str)
    with pytest.raises(UserError, match='text 0 of 2 is empty'):
        kind.of_inputs([('q', '', 'b')], np.array([[1]]), str)


def test_a_single_candidate_is_ranked_and_a_single_choice_is_left_out():
    form = dataclasses.replace(load_pretrained('docstrings').preprocessing, form='choices')
    items = [Item('a', ('q', 'b')), Item('c', ('q', 'd', 'e')), Item('f', ('q', '', 'g'))]
    for kind, ids in ((Relevance(), ['a', 'c']), (Choices(), ['c'])):
        failed = []
        reading = Reading(form, fewest_texts=kind.fewest_texts)
        found = [each for chunk in chunks(items, reading, failed.append) for each in chunk.ids]
        assert found == ids and failed[-1].reason == 'text 0 of 2 is empty'


def test_graded_gains_are_those_of_scikit_learn():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    relevance = rng.integers(0, 4, (30, 12)).astype(np.float32)
    scores = rng.normal(size=(30, 12))
    rows = task_of('text_ranking').statistics(scores[..., None], {'labels': relevance}, None).rows
    want = [ndcg_score([r], [s], k=10) for r, s in zip(relevance, scores, strict=True)]
    np.testing.assert_allclose(rows['ndcg_at_10'], want, atol=1e-12)


def test_choices_and_candidates_from_files(tmp_path):
    rows = [
        {'question': 'a', 'choices': ['b', 'c', 'd'], 'label': 'B'},
        {'question': 'e', 'choices': ['f', 'g', 'h'], 'label': 2},
    ]
    found = read(jsonl(tmp_path / 'a.jsonl', rows), 'multiple_choice')
    assert found.inputs.tolist() == [['a', 'b', 'c', 'd'], ['e', 'f', 'g', 'h']]
    assert found.labels.tolist() == [[1, 3], [2, 3]]
    rows = [
        {'query': 'a', 'candidates': ['b', 'c'], 'relevance': [0, 1.5]},
        {'query': 'd', 'candidates': ['e', 'f', 'g'], 'relevance': [1, 0, 0]},
    ]
    found = read(jsonl(tmp_path / 'b.jsonl', rows), 'text_ranking')
    assert found.inputs.tolist() == [['a', 'b', 'c', ''], ['d', 'e', 'f', 'g']]
    assert found.labels.tolist() == [[0, 1.5, -1], [1, 0, 0]]


@pytest.mark.parametrize(
    ('task', 'row', 'said'),
    [
        ('multiple_choice', {'question': 'a', 'choices': ['b', 'c'], 'label': 2}, 'choice 2 of 2'),
        ('multiple_choice', {'question': 'a', 'choices': ['b'], 'label': 'x y'}, 'is .x y.'),
        ('multiple_choice', {'question': 'a', 'choices': ['b', ''], 'label': 0}, "holds ''"),
        ('multiple_choice', {'text': 'a', 'label': 0}, 'no columns of a text and its choices'),
        ('text_ranking', {'query': 'a', 'candidates': ['b'], 'relevance': [1, 0]}, '1 candidates'),
        ('text_ranking', {'query': 'a', 'candidates': ['b'], 'relevance': [-1]}, '0 or more'),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, task, row, said):
    with pytest.raises(UserError, match=said):
        read(jsonl(tmp_path / 'a.jsonl', [row]), task)


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """The right choice repeats a word of the question."""
    rng, rows = np.random.default_rng(0), []
    words = ['red', 'blue', 'green', 'black', 'white']
    for _ in range(120):
        one, other = rng.choice(words, 2, replace=False)
        right = int(rng.integers(2))
        choices = [str(one), str(other)] if right == 0 else [str(other), str(one)]
        rows.append({'question': f'which is {one}', 'choices': choices, 'label': right})
    path = tmp_path_factory.mktemp('choices') / 'all.jsonl'
    jsonl(path, rows)
    return path


def config(file, **changes):
    data = {'source': f'jsonl:{file}', 'task': 'multiple_choice', 'tokenizer': 'wordpiece:128'}
    return read_config(
        {
            'init': '',
            'model': {'name': 'bert', 'pool': 'mean', 'dropout': 0.0, 'head_dropout': 0.0, **TINY},
            'data': {**data, 'max_length': 16, 'batch_size': 8, 'eval_batch_size': 16},
            'optimizer': {'learning_rate': 1e-2, 'name': 'sgd', **changes.pop('optimizer', {})},
            'train': {'steps': 6, 'eval_every': 0.5, 'report': False, **changes.pop('train', {})},
            **changes,
        }
    )


@pytest.mark.slow
def test_a_run_its_parts_its_features_and_its_answers(file, tmp_path):
    def losses(**changes):
        fitted, _ = train(prepare(config(file, **changes)), progress=False)
        return [row['train_loss'] for row in fitted.history]

    plain = losses()
    for parts in (2, 4):
        assert losses(optimizer={'accumulate': parts}) == pytest.approx(plain, rel=1e-5)
    assert losses(train={'remat': True}) == pytest.approx(plain, rel=1e-5)
    frozen = [losses(freeze='head', train={'cache': cache}) for cache in ('off', 'on')]
    assert frozen[0] == pytest.approx(frozen[1], rel=1e-5)
    prepared = prepare(config(file))
    _, result = train(prepared, tmp_path / 'run', progress=False)
    opened = open_trained(str(tmp_path / 'run'))
    test = prepared.data.test
    given = answers_to(opened, [tuple(each) for each in test.inputs], {})
    right = np.mean(np.array(given.predicted) == test.labels[:, 0])
    assert right == pytest.approx(result['metrics']['accuracy'])


@pytest.mark.slow
@pytest.mark.torch
def test_scores_and_loss_are_those_of_transformers(tmp_path):
    import torch
    import transformers

    from ftjax.export.huggingface import save_huggingface
    from ftjax.models.registry import build
    from ftjax.pretrained.initialise import random_variables

    network = build('bert', {**TINY, 'num_classes': 1})
    variables = random_variables(network, 0)
    save_huggingface(tmp_path, network, variables, None)
    theirs = transformers.BertForMultipleChoice.from_pretrained(tmp_path).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 60, (2, 3, 8)).astype(np.int32)
    mask = np.ones((2, 3, 8), np.int32)
    mask[0, 1, 5:] = 0
    labels = np.array([2, 0], np.int32)
    inputs = {'input_ids': ids, 'attention_mask': mask}
    answer = theirs(
        **{k: torch.tensor(v).long() for k, v in inputs.items()},
        labels=torch.tensor(labels).long(),
    )
    answer.loss.backward()
    given = np.stack([labels, [3, 3]], axis=1)
    batch = {'labels': given, 'mask': np.ones(2, np.float32)}

    def loss_of(params):
        outputs = network.apply({**variables, 'params': params}, inputs)
        total, weight = task_of('multiple_choice').loss(outputs, batch)
        return total / weight, outputs

    (loss, outputs), grads = jax.value_and_grad(loss_of, has_aux=True)(variables['params'])
    np.testing.assert_allclose(outputs[..., 0], answer.logits.detach().numpy(), atol=1e-5)
    assert float(loss) == pytest.approx(answer.loss.item(), abs=1e-5)
    want = dict(theirs.named_parameters())['classifier.weight'].grad.numpy().T
    np.testing.assert_allclose(grads['head']['dense']['kernel'], want, atol=1e-5)
