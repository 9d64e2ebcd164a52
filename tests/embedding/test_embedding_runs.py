"""Embeddings through a run: parts of a batch, stored features, meshes, answers, export."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.export.weights import export_weights
from ftjax.pretrained.sentence_folder import pooling_of
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train

TINY = {'vocab_size': 128, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 16, 'max_positions': 16}
WORDS = ('red', 'blue', 'green', 'black', 'white', 'grey', 'pink', 'brown')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """Pairs of texts that share a word, some of them equal."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('pairs') / 'all.jsonl'
    rows = []
    for _ in range(96):
        one, two = rng.choice(WORDS, 2)
        rows.append({'anchor': f'what is {one} {two}', 'positive': f'{two} {one}'})
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return path


def config(file, **changes):
    data = {'source': f'jsonl:{file}', 'task': 'embedding', 'tokenizer': 'wordpiece:128'}
    data |= {'max_length': 16, 'batch_size': 16, 'eval_batch_size': 32, **changes.pop('data', {})}
    return read_config(
        {
            'init': '',
            'model': {'name': 'bert', 'pool': 'mean', 'dropout': 0.0, **TINY},
            'data': data,
            'optimizer': {'learning_rate': 1e-2, 'name': 'sgd', **changes.pop('optimizer', {})},
            'train': {'steps': 6, 'eval_every': 1.0, 'report': False, **changes.pop('train', {})},
            **changes,
        }
    )


def losses(file, **changes):
    fitted, _ = train(prepare(config(file, **changes)), progress=False)
    return [row['train_loss'] for row in fitted.history]


def test_pairs_scores_and_classes_from_files(file, tmp_path):
    data = load_data(DataSettings(source=f'jsonl:{file}', task='embedding')).train
    assert data.inputs.shape[1] == 2 and data.labels.shape[1] == 3
    same = data.inputs[:, 1][:, None] == data.inputs[:, 1]
    np.testing.assert_array_equal(same, data.labels[:, 1][:, None] == data.labels[:, 1])
    rows = [{'sentence1': 'a', 'sentence2': 'b', 'score': k} for k in (0, 2.5, 5)]
    path = tmp_path / 'sts.jsonl'
    path.write_text('\n'.join(map(json.dumps, rows)))
    given = {'task': 'text_similarity', 'test_fraction': 0.0, 'val_fraction': 0.0}
    found = load_data(DataSettings(source=f'jsonl:{path}', label_scale=5.0, **given)).train
    assert found.labels.tolist() == [0, 0.5, 1]
    with pytest.raises(UserError, match=r'scores go up to 5, .*data\.label_scale'):
        load_data(DataSettings(source=f'jsonl:{path}', **given))
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}')
    given['task'] = 'embedding'
    found = load_data(DataSettings(source=f'jsonl:{path}', **given)).train
    assert found.labels.tolist() == [[0, 0], [1, 1]]
    path.write_text('{"text": "a"}\n{"text": "b"}')
    with pytest.raises(UserError, match='single texts without a label'):
        load_data(DataSettings(source=f'jsonl:{path}', **given))


@pytest.mark.slow
def test_a_batch_of_one_has_nothing_to_compare(file):
    with pytest.raises(UserError, match=r'data\.batch_size is 1, and the loss compares'):
        prepare(config(file, data={'batch_size': 1}), weights=False)


def test_parts_of_a_batch_give_the_gradients_of_the_whole(file):
    plain = losses(file)
    for parts in (2, 4):
        assert losses(file, optimizer={'accumulate': parts}) == pytest.approx(plain, rel=1e-5)
    assert losses(file, train={'remat': True}) == pytest.approx(plain, rel=1e-5)


@pytest.mark.slow
def test_stored_features_give_the_same_run(file, tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path))
    found = [losses(file, freeze='last:1', train={'cache': cache}) for cache in ('off', 'on')]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.slow
def test_answers_are_vectors_and_the_export_is_one_of_sentence_transformers(file, tmp_path):
    prepared = prepare(config(file))
    _, result = train(prepared, tmp_path / 'run', progress=False)
    assert result['metrics']['queries'] > 5 and result['metrics']['ndcg_at_10'] > 0
    opened = open_trained(str(tmp_path / 'run'))
    outputs = answers_to(opened, ['red blue', 'what is red'], {}).outputs
    assert outputs.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1, atol=1e-5)
    folder = export_weights(tmp_path / 'run', tmp_path / 'out')
    assert pooling_of(folder) == 'mean' and (folder / 'modules.json').exists()
    assert 'SentenceTransformer' in (folder / 'README.md').read_text()


@pytest.mark.slow
@pytest.mark.parametrize('task', ['embedding', 'token_classification', 'multiple_choice'])
def test_meshes_change_nothing(tmp_path, task):
    """One device, eight, and four by two (sharded): the same losses."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(64):
        one, two = map(str, rng.choice(WORDS, 2, replace=False))
        rows.append(
            {
                'embedding': {'anchor': f'what is {one}', 'positive': f'{one} {two}'},
                'token_classification': {'words': [one, 'is', two], 'tags': ['B-A', 'O', 'B-B']},
                'multiple_choice': {'question': one, 'choices': [one, two], 'label': 0},
            }[task]
        )
    path = tmp_path / 'all.jsonl'
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    script = tmp_path / 'run.py'
    script.write_text(
        'import json, sys\n'
        'from ftjax.config import read_config\n'
        'from ftjax.runs.prepare import prepare\n'
        'from ftjax.runs.run import train\n'
        'fitted, _ = train(prepare(read_config(json.loads(sys.argv[1]))), progress=False)\n'
        "print(json.dumps([row['train_loss'] for row in fitted.history]))\n"
    )
    model = {'name': 'bert', 'dropout': 0.0, 'head_dropout': 0.0, **TINY}
    pool = {} if task == 'token_classification' else {'pool': 'mean'}
    found = []
    for mesh in (None, {'data': 8}, {'data': 4, 'fsdp': 2}):
        values = {
            'init': '',
            'model': {**model, **pool},
            'data': {
                'source': f'jsonl:{path}',
                'task': task,
                'tokenizer': 'wordpiece:128',
                'max_length': 16,
                'batch_size': 16,
                'eval_batch_size': 16,
            },
            'optimizer': {'learning_rate': 1e-2, 'name': 'sgd'},
            'train': {'steps': 4, 'eval_every': 1.0, 'report': False},
            **({} if mesh is None else {'mesh': mesh}),
        }
        devices = 1 if mesh is None else 8
        flags = f'--xla_force_host_platform_device_count={devices}'
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(values)],
            capture_output=True,
            text=True,
            env={**os.environ, 'XLA_FLAGS': flags},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_pairs_with_labels_of_two_kinds_are_refused(tmp_path):
    path = tmp_path / 'pairs.jsonl'

    def read(labels):
        rows = [{'sentence1': f'a {i}', 'sentence2': f'b {i}', 'label': v} for i, v in labels]
        path.write_text('\n'.join(map(json.dumps, rows)))
        return load_data(DataSettings(source=f'jsonl:{path}', task='embedding'))

    for values in ((0, 1), ('entailment', 'contradiction')):
        with pytest.raises(UserError, match=r'2 texts and a label; .*text_similarity'):
            read([(i, values[i % 2]) for i in range(40)])
    assert read([(i, 1) for i in range(40)]).train.inputs.shape[1] == 2
