"""Answers of every task of texts on files with the columns that it trains on."""

import json

import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data import eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.prediction_files import write_features, write_predictions
from ftjax.runs.prediction.trained import of_variables
from ftjax.runs.prepare import prepare
from ftjax.tasks.answers import ANSWERS

TINY = {'vocab_size': 128, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16, 'max_positions': 32}
ENCODER = {'name': 'bert', 'pool': 'mean', 'dropout': 0.0, 'head_dropout': 0.0, **TINY}
WORDS = ('red', 'blue', 'green', 'black')
ROWS = {
    'embedding': lambda a, b, n: {'anchor': f'what is {a}', 'positive': f'{a} {b}'},
    'text_similarity': lambda a, b, n: {'sentence1': a, 'sentence2': f'{b} {a}', 'score': n % 2},
    'multiple_choice': lambda a, b, n: {
        'prompt': f'is it {a}',
        'choices': [a, b, 'or none'][: 2 + n % 2],
        'label': n % 2,
    },
    'text_ranking': lambda a, b, n: {
        'query': a,
        'passages': [b, f'{a} {a}', 'it'][: 2 + n % 2],
        'relevance': [0, 1, 0][: 2 + n % 2],
    },
    'token_classification': lambda a, b, n: {'words': ['is', a], 'tags': ['O', 'B-A']},
    'causal_lm': lambda a, b, n: {'prompt': f'is it {a}', 'completion': f'{b} {a} ' * (1 + n)},
}


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    """A network of each task with random weights, and the file that its run would train on."""
    made = {}

    def of(task):
        if task not in made:
            path = tmp_path_factory.mktemp(task) / 'rows.jsonl'
            pairs = [(a, b) for a in WORDS for b in WORDS if a != b]
            rows = [ROWS[task](a, b, n % 3) for n, (a, b) in enumerate(pairs)]
            path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
            lm = task == 'causal_lm'
            options = {k: v for k, v in ENCODER.items() if 'dropout' not in k and k != 'pool'}
            decoder = {**options, 'name': 'gpt2', 'head': 'lm', 'vocab_size': 320}
            tags = {k: v for k, v in ENCODER.items() if k != 'pool'}
            model = decoder if lm else tags if task == 'token_classification' else ENCODER
            data = {'source': f'jsonl:{path}', 'task': task, 'eval_batch_size': 8}
            data['tokenizer'] = 'bytes:320' if lm else 'wordpiece:128'
            config = read_config({'init': '', 'model': model, 'data': data})
            ready = prepare(config)
            trained = of_variables(
                *('tiny', ready.network, ready.variables, ready.preprocessing),
                *(config.data, ready.data),
            )
            made[task] = trained, ready, path
        return made[task]

    return of


def answers(trained, source, output):
    done = write_predictions(trained, str(source), output, ANSWERS, progress=False)
    return done, [json.loads(line) for line in output.read_text().splitlines()]


@pytest.mark.parametrize('task', ROWS)
def test_the_columns_of_training_are_answered(untrained, task, tmp_path):
    trained, ready, path = untrained(task)
    done, rows = answers(trained, path, tmp_path / 'out.jsonl')
    assert (done.rows, done.failed) == (12, 0) and rows[1]['id'] == 'rows.jsonl:2'
    if task == 'embedding':
        write_features(trained, str(path), tmp_path / 'v.npz', None, progress=False)
        vectors = np.load(tmp_path / 'v.npz')['features']
        assert vectors.shape == (12, 2, 16) and rows[3]['text2_15'] == float(vectors[3, 1, 15])
        cosines = (vectors[:, 0] * vectors[:, 1]).sum(axis=1)
        np.testing.assert_allclose([row['similarity'] for row in rows], cosines, atol=1e-5)
    elif task == 'multiple_choice':
        for number, row in enumerate(rows):
            chances = [float(each) for each in row['probabilities'].split()]
            assert len(chances) == 2 + number % 3 % 2 and sum(chances) == pytest.approx(1, abs=1e-5)
            assert np.argmax(chances) == row['predicted'] and row['choice'] in (*WORDS, 'or none')
    elif task == 'text_ranking':
        for row in rows:
            scores = [float(each) for each in row['scores'].split()]
            assert row['predicted'].split() == [str(k) for k in np.argsort(scores)[::-1]]
    elif task == 'token_classification':
        assert all(len(row['predicted'].split()) == 2 for row in rows)
    else:  # what an evaluation of the same examples says
        test = ready.data.test
        given = dict(zip((row['id'] for row in rows), rows, strict=True))
        batches = eval_batches(test, 8, None, trained.preprocessing)
        network = trained.network, trained.variables, batches, trained.preprocessing
        metrics = trained.task.measure(predict(*network))
        own = [given[name] for name in test.ids]
        if task == 'causal_lm':
            counts = [row['tokens'] for row in own]
            nll = np.average([row['nll'] for row in own], weights=counts)
            assert nll == pytest.approx(metrics['nll'], rel=1e-6)
            assert own[0]['perplexity'] == pytest.approx(np.exp(own[0]['nll']))
        else:
            errors = [(row['predicted'] - s) ** 2 for row, s in zip(own, test.labels, strict=True)]
            assert np.mean(errors) == pytest.approx(metrics['cosine_mse'], rel=1e-5)


def test_single_texts_and_csv_files_are_answered_too(untrained, tmp_path):
    trained, _, _ = untrained('embedding')
    (tmp_path / 'a.csv').write_text('text\nred blue\n')
    _, rows = answers(trained, tmp_path / 'a.csv', tmp_path / 'o.jsonl')
    assert [*rows[0]][:2] == ['id', 'output_0'] and len(rows[0]) == 17
    (tmp_path / 'b.csv').write_text('sentence1,sentence2,score\nred,blue,0.5\n')
    _, rows = answers(untrained('text_similarity')[0], tmp_path / 'b.csv', tmp_path / 'o.jsonl')
    assert -1 <= rows[0]['predicted'] <= 1
    (tmp_path / 'c.csv').write_text('sent1,ending0,ending1,ending2,ending3\na,b,c,,\na,b,c,d,e\n')
    _, rows = answers(untrained('multiple_choice')[0], tmp_path / 'c.csv', tmp_path / 'o.jsonl')
    assert [len(row['probabilities'].split()) for row in rows] == [2, 4]
    (tmp_path / 'd.conll').write_text('red B-A\nblue O\n\nis O\n')
    _, rows = answers(
        untrained('token_classification')[0], tmp_path / 'd.conll', tmp_path / 'o.jsonl'
    )
    assert [row['id'] for row in rows] == ['d.conll:1', 'd.conll:4']
    (tmp_path / 'e.jsonl').write_text('{"text": "red blue"}\n{"messages": []}\n{"text": " "}\n')
    done, rows = answers(untrained('causal_lm')[0], tmp_path / 'e.jsonl', tmp_path / 'o.jsonl')
    assert len(rows) == 1 and [one.id for one in done.first] == ['e.jsonl:2', 'e.jsonl:3']
    with pytest.raises(UserError, match=r'predicts no value: see `outputs`'):
        _ = answers_to(trained, ['red'], {}).predicted
    ragged = answers_to(trained, [('red', 'blue'), ('a', 'b', 'c'), 'x'], {})
    assert len(ragged) == 1 and [one.id for one in ragged.failed] == ['000001', '000002']


@pytest.mark.parametrize('task', ROWS)
def test_columns_that_are_missing_are_named_with_those_that_are_there(untrained, task, tmp_path):
    trained, _, _ = untrained(task)
    (tmp_path / 'a.jsonl').write_text('{"x": "red", "y": "blue"}\n')
    with pytest.raises(
        UserError, match=r'a\.jsonl: .*(columns).*(x, y|set data.text_column)'
    ) as said:
        answers(trained, tmp_path / 'a.jsonl', tmp_path / 'o.jsonl')
    usual = {'embedding': 'anchor and positive', 'causal_lm': 'prompt and completion'}
    usual |= {'text_similarity': 'sentence1 and sentence2', 'multiple_choice': 'prompt and choices'}
    usual |= {'text_ranking': 'query and candidates', 'token_classification': 'words, tokens'}
    assert usual[task] in str(said.value)
    assert not (tmp_path / 'o.jsonl').exists()


@pytest.mark.parametrize('task', ROWS)
def test_it_is_said_how_many_texts_lost_their_end(untrained, task, tmp_path):
    """Counted beside the tokenizer itself, which is told not to cut."""
    trained, ready, path = untrained(task)
    tokenizer = ready.preprocessing.open()
    tokenizer.no_truncation()
    longest = ready.preprocessing.max_length
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    first = next(iter(rows[0]))
    long = 'blue and green ' * longest
    rows[3][first] = rows[7][first] = long.split() if task == 'token_classification' else long
    (tmp_path / 'long.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    done, _ = answers(trained, tmp_path / 'long.jsonl', tmp_path / 'out.jsonl')
    assert len(tokenizer.encode(long).ids) > longest and done.rows == 12 - done.failed
    if task == 'token_classification':
        assert done.cut == 0  # a long text is several windows
        return
    if task == 'causal_lm':  # no token of the answer is left: nothing can be told of the two
        assert (done.failed, done.cut) == (2, 0)
        rows[3][first] = rows[7][first] = 'is it red'
        rows[3]['completion'] = rows[7]['completion'] = long
        (tmp_path / 'long.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
        done, _ = answers(trained, tmp_path / 'long.jsonl', tmp_path / 'out.jsonl')
    assert (done.failed, done.cut, done.longest) == (0, 2, longest)
    assert f'2 of 12 texts are longer than {longest} tokens' in done.warnings()[0]
    short, _ = answers(trained, path, tmp_path / 'out.jsonl')
    assert short.cut == 0 and not short.warnings()
