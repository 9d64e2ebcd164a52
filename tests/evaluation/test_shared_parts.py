"""Losses of whole batches, windows and stored features, shared by processes: as of one process.

Here processes are threads, and networks functions of each example by itself, so that numbers are
equal; real ones are those of tests/evaluation/test_shared_splits.py.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from process_threads import PROCESSES, in_threads

from ftjax.data import Dataset, DataSettings, eval_batches
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.data.streams.loader import Loader
from ftjax.distributed import process_group
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation import own_answers, sliding
from ftjax.evaluation.own_pairs import OwnPairs
from ftjax.evaluation.split_outputs import split_outputs
from ftjax.tasks import task_of
from ftjax.training.feature_cache.store import Features
from ftjax.training.feature_cache.stored_batches import FeatureBatches

COUNT, SIZE = 23, 9  # two of the processes have none of the last batch
IMAGES = np.random.default_rng(0).random((COUNT, 4, 4, 1)).astype(np.float32)


def rows_of(process, size=SIZE):
    return np.array_split(np.arange(size), PROCESSES)[process]


def vectors(texts):
    """Of each text by itself."""
    return np.stack([IMAGES[int(text)].reshape(-1)[:7] - 0.5 for text in texts])


def texts_of_classes():
    numbers = np.arange(COUNT, dtype=np.int32)  # of each text; its class comes after it
    classes = np.stack([numbers, numbers % 4], axis=1)
    texts = [str(number) for number in range(COUNT)]
    return Dataset(
        name='t', kind='text', inputs=texts, labels=classes, class_names=(), task='embedding'
    )


def test_vectors_of_whole_batches_are_gathered_and_inputs_are_not(monkeypatch):
    data, read, decoded = texts_of_classes(), {}, Loader.batch
    task, batches = task_of('embedding'), eval_batches(data, SIZE)
    whole = task.validate((vectors(b['inputs']), b) for b in batches)
    assert whole['score'] > 0 and whole['loss'] > 0

    def gathered(run, variables, inputs, places):
        """A program whose outputs each process has whole."""
        return SimpleNamespace(
            call=lambda _, own: np.concatenate(process_group.from_each(vectors(own)))
        )

    def run(process):
        batches = eval_batches(data, SIZE)
        own, seen = batches.loader, []
        own.batch = lambda rows, **more: (seen.extend(rows), decoded(own, rows, **more))[1]
        sharding = SimpleNamespace(
            devices=1,
            fsdp=1,
            whole=None,
            rows=lambda size: rows_of(process, size),
            copied=lambda tree: tree,
            batch=lambda tree, size: tree,
        )
        pairs = own_answers.answers(None, {}, batches, sharding=sharding, compares=True)
        assert not isinstance(pairs, OwnPairs)
        read[process] = set(seen)
        found = task.validate(pairs)
        read[process] = set(seen)
        return found

    monkeypatch.setattr(own_answers, 'program', gathered)
    found = in_threads(monkeypatch, run)
    assert found == [whole] * PROCESSES  # to the bit
    # Three of each batch; of the last one, of five, a process without any pads with the first.
    assert [sorted(read[p]) for p in range(PROCESSES)] == [
        [0, 1, 2, 9, 10, 11, 18, 19, 20],
        [3, 4, 5, 12, 13, 14, 18, 21, 22],
        [6, 7, 8, 15, 16, 17, 18],
    ]


def test_batches_without_inputs_are_the_batches_but_for_them():
    batches = eval_batches(texts_of_classes(), SIZE)
    for bare, batch in zip(batches.without_inputs(), batches, strict=True):
        assert bare.keys() == batch.keys() - {'inputs'}
        for name, values in bare.items():
            np.testing.assert_array_equal(values, batch[name], err_msg=name)


def test_labels_of_tokens_cannot_be_had_without_reading(monkeypatch):
    batches = eval_batches(texts_of_classes(), SIZE)
    monkeypatch.setattr(Loader, 'labels_need_texts', True)
    with pytest.raises(ValueError, match='labels of tokens'):
        next(batches.without_inputs())
    # Then each process reads all.
    monkeypatch.setattr(process_group, 'several', lambda: True)
    monkeypatch.setattr(own_answers, 'predict', lambda *given, **more: 'of all')
    assert own_answers.answers(None, {}, batches, compares=True) == 'of all'


def test_rows_of_stored_features_are_those_of_the_batches():
    labels = np.zeros(COUNT, np.int32)
    data = Dataset(name='i', kind='image', inputs=IMAGES, labels=labels, class_names='x')
    features = Features('k', {'hidden': IMAGES.reshape(COUNT, -1)})
    stored = FeatureBatches(eval_batches(data, SIZE), features)
    whole, parts = [*stored], [[*stored.of_rows(rows_of(p))] for p in range(PROCESSES)]
    assert [[count for _, count in part] for part in parts] == [[3, 3, 3], [3, 3, 2], [3, 3, 0]]
    for batch, *own in zip(whole, *parts, strict=True):
        for name in ('labels', 'index', 'mask'):
            read = np.concatenate([one[name][:count] for one, count in own])
            np.testing.assert_array_equal(read, batch[name][: len(read)], err_msg=name)
        read = np.concatenate([one['inputs']['hidden'][:count] for one, count in own])
        np.testing.assert_array_equal(read, batch['inputs']['hidden'][: len(read)])


# With two images one of three processes has none.
@pytest.mark.parametrize('count', [2, 7])
def test_windows_of_own_images_give_the_metrics_of_all(count, monkeypatch):
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 3, (count, 9, 7)).astype(np.uint8)
    data = Dataset(
        name='s',
        kind='image',
        inputs=rng.random((count, 9, 7, 3)).astype(np.float32),
        labels=masks([MaskPixels(mask) for mask in pixels]),
        class_names='abc',
        task='segmentation',
    )
    task, settings = (
        task_of('segmentation'),
        DataSettings(task='segmentation', sliding=0.5, image_size=(4, 4)),
    )

    def predicted(network, variables, batches, *_, **more):
        return ((batch['inputs'], batch) for batch in batches)

    called = {}

    def own(run, variables, parts, size):
        for batch, rows in parts:
            called.setdefault(process_group.own_share(PROCESSES)[0], []).append(rows)
            assert len(batch['inputs']) == size // PROCESSES
            yield batch['inputs'][:rows], {name: x[:rows] for name, x in batch.items()}

    def outputs(shared=False):
        return split_outputs(None, {}, data, settings, None, SIZE, shared)

    monkeypatch.setattr(sliding, 'predict', predicted)
    monkeypatch.setattr(sliding, 'own_outputs', own)
    monkeypatch.setattr(sliding, 'Forward', lambda *given, **more: None)
    monkeypatch.setattr(Sharding, 'rows', lambda self, size: rows_of(0, size))
    whole = task.measure(outputs())
    found = in_threads(monkeypatch, lambda process: task.measure(outputs(shared=True)))
    assert found == [whole] * PROCESSES and whole['n'] == count
    # Twelve windows an image; all processes make equally many calls, padding ones too.
    assert [sum(called[p]) for p in range(PROCESSES)] == [
        12 * len(range(p, count, PROCESSES)) for p in range(PROCESSES)
    ]
    assert len({len(rows) for rows in called.values()}) == 1
