"""A further test set of vectors: what reaches the head still tells which texts are alike."""

import dataclasses

import numpy as np
import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.settings import AblationSettings
from ftjax.data import eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather

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
