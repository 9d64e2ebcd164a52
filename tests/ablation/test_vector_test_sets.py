"""Further test sets for encoders: vectors that reach the head, hidden tokens by the first head."""

import dataclasses

import numpy as np
import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.settings import AblationSettings
from ftjax.config import read_config
from ftjax.data import eval_batches
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.prepare import prepare
from ftjax.tasks import task_of

PAIRS = (
    ('Return the length of a list.', 'Return how long the list is.', 1.0),
    ('Return the length of a list.', 'Open a file for writing.', 0.0),
    ('Raise an error if the key is missing.', 'An error is raised for a missing key.', 0.9),
    ('Raise an error if the key is missing.', 'Sort the items of the list.', 0.1),
    ('Close the socket.', 'The socket is closed.', 0.8),
    ('Close the socket.', 'Parse the arguments of the command line.', 0.2),
)
VALUES = {
    'init': 'docstrings',
    'data': {
        'source': 'docstrings:order',
        'examples_per_class': 4,
        'val_per_class': 4,
        'test_per_class': 4,
        'max_length': 32,
        'eval_batch_size': 8,
    },
}


def runner_of(folder, **changes):
    lines = ['sentence1\tsentence2\tscore', *('\t'.join(map(str, pair)) for pair in PAIRS)]
    (folder / 'pairs.tsv').write_text('\n'.join(lines) + '\n')
    pairs = {'source': f'csv:{folder}/pairs.tsv', 'task': 'text_similarity', 'head': 'vector'}
    also = {'pairs': {**pairs, **changes}}
    arms = {'full': 'full', 'lora': 'lora:4', 'pretrained': {'baseline': 'pretrained'}}
    settings = AblationSettings(
        arms=arms,
        rates=(1e-3,),
        also_evaluate=also,
        retention='pairs',
        retention_metric='spearman',
    )
    return CellRunner(VALUES, settings)


def ranks(values):
    return np.argsort(np.argsort(values))


@pytest.mark.slow
def test_it_is_the_correlation_of_cosines_made_here_whatever_the_head_and_adapters(tmp_path):
    runner = runner_of(tmp_path)
    found = {}
    for arm in runner.settings.arms:
        prepared = runner.prepared(arm, None if arm == 'pretrained' else 1e-3, 0)
        (test,) = further_tests(prepared, runner.settings.also_evaluate)
        found[arm] = test.metrics(prepared.variables)
    # LoRA begins as the network was, and the new head is not asked.
    assert found['full'] == found['pretrained']
    assert found['lora']['spearman'] == found['full']['spearman']
    # Each text by itself through the network of the task, up to its head.
    network, side = prepared.network, []
    for column in (0, 1):
        texts = np.array([pair[column] for pair in PAIRS], object)
        own = prepared.data.test.take(np.zeros(len(PAIRS), int))
        own = dataclasses.replace(own, inputs=texts)
        batches = eval_batches(own, 8, None, prepared.preprocessing)
        given = network, prepared.variables, batches, prepared.preprocessing
        side.append(gather(predict(*given, stage=network.stages[-2])).outputs)
    one, other = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in side)
    cosines = (one * other).sum(axis=1)
    want = np.corrcoef(ranks(cosines), ranks([pair[2] for pair in PAIRS]))[0, 1]
    assert found['full']['spearman'] == pytest.approx(want, abs=1e-6)


def test_a_task_without_vectors_is_refused(tmp_path):
    runner = runner_of(tmp_path, task='classification', source='docstrings:order')
    prepared = runner.prepared('full', 1e-3, 0)
    with pytest.raises(UserError, match="'pairs': head 'vector' needs a task of vectors"):
        further_tests(prepared, runner.settings.also_evaluate)


HIDDEN = {
    'source': 'docstrings:unlabelled',
    'task': 'masked_tokens',
    'head': 'source',
    'test_fraction': 0.005,
}


def hidden_runner(**changes):
    settings = AblationSettings(
        arms={'full': 'full', 'pretrained': {'baseline': 'pretrained'}},
        rates=(1e-3,),
        also_evaluate={'hidden': HIDDEN},
        retention='hidden',
        retention_metric='loss',
    )
    values = {**VALUES, 'data': {**VALUES['data'], 'test_per_class': None}}
    return CellRunner({**values, **changes}, settings)


@pytest.mark.slow
def test_hidden_tokens_are_guessed_by_the_table_of_words_of_the_trained_trunk():
    runner = hidden_runner()
    prepared = runner.prepared('full', 1e-3, 0)
    (test,) = further_tests(prepared, runner.settings.also_evaluate)
    found = test.metrics(prepared.variables)
    source = load_pretrained('docstrings')
    preprocessing = source.preprocessing.with_length(32)
    dataset = load_data(test.settings).test
    batches = eval_batches(dataset, 8, None, preprocessing)
    outputs = predict(source.network, source.variables, batches, preprocessing)
    want = task_of('masked_tokens').measure(outputs)
    assert found['n'] == want['n'] and found['loss'] == pytest.approx(want['loss'], rel=1e-5)
    moved = {**prepared.variables['params']}
    table = moved['embed']['word_embed']['embedding']
    moved['embed'] = {**moved['embed'], 'word_embed': {'embedding': table * 0.5}}
    changed = test.metrics({**prepared.variables, 'params': moved})
    assert changed['loss'] != pytest.approx(want['loss'], rel=1e-3)


def test_retention_without_a_first_head_is_refused_before_the_first_run():
    runner = hidden_runner(init='random:docstrings')
    with pytest.raises(UserError, match="retention 'hidden': 'random:docstrings' has no head"):
        runner.check()


def test_a_tokenizer_of_the_training_texts_reads_further_test_sets_too(tmp_path):
    words = {'own': ('apple', 'pear', 'plum'), 'other': ('house', 'roof', 'door')}
    for name, known in words.items():
        rows = [f'{known[n % 3]} {known[n % 2]},{"xy"[n % 2]}' for n in range(40)]
        (tmp_path / f'{name}.csv').write_text('\n'.join(['text,label', *rows]))
    data = {'source': f'csv:{tmp_path}/own.csv', 'tokenizer': 'wordpiece:120', 'max_length': 16}
    sizes = {'vocab_size': 120, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 8}
    prepared = prepare(read_config({'model': {'name': 'bert', **sizes}, 'init': '', 'data': data}))
    also = {'other': f'csv:{tmp_path}/other.csv', 'shorter': {'max_length': 8}}
    found = {test.name: test.preprocessing for test in further_tests(prepared, also)}
    assert {each.sha256 for each in found.values()} == {prepared.preprocessing.sha256}
    assert (found['other'].max_length, found['shorter'].max_length) == (16, 8)
