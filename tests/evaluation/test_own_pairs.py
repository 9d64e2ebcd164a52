"""A split that several processes share: each task's metrics are those of one process.

Here processes are threads; real ones are those of tests/evaluation/test_shared_splits.py.
"""

import numpy as np
import pytest
from PIL import Image
from process_threads import PROCESSES, in_threads
from task_answers import batches

from ftjax.data import Dataset, DataSettings, eval_batches, load_data
from ftjax.data.streams.loader import Loader, real_rows
from ftjax.evaluation.own_pairs import OwnPairs
from ftjax.tasks import task_of, tasks
from ftjax.tasks.training_loss import PLAIN


def rows_of(name, process, size):
    """Every third example of each batch, without padding; a process may have none of a batch."""
    for outputs, batch in batches(name, size):
        mine = np.flatnonzero(real_rows(batch))[process::PROCESSES]
        if len(mine):
            yield outputs[mine], {key: value[mine] for key, value in batch.items()}


def equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, (int, float)):
            assert other[key] == pytest.approx(value, rel=1e-12), key
        else:
            assert str(other[key]) == str(value), key


# 23 examples of which two processes have none in the last batch of one.
@pytest.mark.parametrize('name', list(tasks()))
def test_every_task_measures_and_validates_as_one_process_does(name, monkeypatch):
    task = task_of(name)
    whole, validated = task.measure(batches(name, 11)), task.validate(batches(name, 11))

    def run(process):
        measured = task.measure(OwnPairs(rows_of(name, process, 11)))
        if task.compares(PLAIN):  # a loss of whole batches
            with pytest.raises(ValueError, match='parts of them'):
                task.validate(OwnPairs([]))
            return measured, validated
        return measured, task.validate(OwnPairs(rows_of(name, process, 11)))

    for measured, score in in_threads(monkeypatch, run):
        equal(whole, measured)
        equal(validated, score)


def text_set():
    texts = [' '.join(['word'] * n) for n in (9, 2, 5, 1, 7, 3, 4)]
    return Dataset(name='t', kind='text', inputs=texts, labels=[0] * 7, class_names='x')


def image_set():
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 1), dtype=np.uint8)
    return Dataset(name='i', kind='image', inputs=images, labels=[0] * 7, class_names='x')


@pytest.fixture
def file_set(tmp_path):
    for number in range(7):
        folder = tmp_path / 'xy'[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = np.full((9, 9, 3), number, np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
    settings = DataSettings(source=f'folder:{tmp_path}', test_fraction=0, val_fraction=0)
    return load_data(settings).train


# A batch of 5 in 6 rows, of 2 processes; the second batch has 2 examples, one process none.
@pytest.mark.parametrize('made', [text_set, image_set, 'files'])
def test_rows_of_processes_are_the_batches_of_the_split(made, request):
    data = request.getfixturevalue('file_set') if made == 'files' else made()
    size = (4, 4) if made == 'files' else None
    whole = list(eval_batches(data, 5, size))
    parts = [list(eval_batches(data, 5, size).of_rows(np.arange(3) + 3 * p)) for p in (0, 1)]
    counts = [[count for _, count in part] for part in parts]
    assert counts == [[3, 2], [2, 0]]
    for batch, *own in zip(whole, *parts, strict=True):
        for name in ('inputs', 'labels', 'index', 'mask'):
            read = np.concatenate([one[name][:count] for one, count in own])
            np.testing.assert_array_equal(read, batch[name][: len(read)], err_msg=name)
        assert {len(one['inputs']) for one, _ in own} == {3}


def test_a_process_decodes_its_own_files_alone(file_set, monkeypatch):
    read, decoded = [], Loader._read
    monkeypatch.setattr(Loader, '_read', lambda self, i: (read.append(i), decoded(self, i))[1])
    found = list(eval_batches(file_set, 4, (4, 4)).of_rows(np.array([2, 3])))
    assert [batch['index'].tolist() for batch, _ in found] == [[2, 3], [6, 4]]
    assert [count for _, count in found] == [2, 1]
    assert sorted(set(read)) == [2, 3, 4, 6]  # 4 fills up the second
