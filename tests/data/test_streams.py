"""Training and evaluation batches: exact, deterministic, the same from memory and from disk."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ftjax.data import Dataset, DataSettings, TrainStream, eval_batches, load_data
from ftjax.data.streams.loader import Loader
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing


def arrays(count, side=4):
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    labels = np.arange(count) % 3
    return Dataset(name='a', kind='image', inputs=images, labels=labels, class_names='xyz')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    for i in range(11):
        name = folder / 'ab'[i % 2]
        name.mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (9 + i, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(name / f'{i:02d}.png')
    settings = DataSettings(source=f'folder:{folder}', test_fraction=0, val_fraction=0)
    return load_data(settings).train


def same(one, two):
    assert one.keys() == two.keys() == {'inputs', 'labels', 'index', 'mask'}
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)
        assert one[key].dtype == two[key].dtype


def test_a_batch_holds_the_examples_its_index_names():
    data = arrays(20)
    batch = TrainStream(data, 8, seed=0).batch(1)
    np.testing.assert_array_equal(batch['inputs'], data.inputs[batch['index']])
    np.testing.assert_array_equal(batch['labels'], data.labels[batch['index']])
    assert batch['index'].dtype == np.int32
    assert batch['labels'].dtype == np.int32
    assert batch['mask'].tolist() == [1.0] * 8
    assert batch['mask'].dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5))
def test_an_epoch_sees_each_example_at_most_once(count, size, epoch):
    stream = TrainStream(arrays(count), size, seed=1)
    assert stream.steps_per_epoch == max(1, count // size)
    steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
    seen = np.concatenate([stream.batch(step)['index'] for step in steps])
    assert len(seen) == stream.steps_per_epoch * size
    times = np.bincount(seen, minlength=count)
    if count >= size:
        assert times.max() == 1
    else:  # wraparound: as level as can be
        assert times.max() - times.min() <= 1


# How many processes share the batches of which steps: a run that goes on with more or fewer.
@pytest.mark.parametrize('kind', ['arrays', 'files'])
def test_each_example_is_read_once_an_epoch_whatever_processes_share_it(kind, files):
    data = {'arrays': arrays(27), 'files': files}[kind]
    size = 8 if len(data) > 11 else 4
    whole = TrainStream(data, size, seed=3, image_size=(8, 8))
    every = whole.steps_per_epoch
    parts = [(0, 2, 4), (2, every + 1, 1), (every + 1, 2 * every, 2)]  # steps, and processes
    read = []
    for first, last, processes in parts:
        found = []
        for process in range(processes):
            stream = TrainStream(data, size, seed=3, image_size=(8, 8))
            own = stream.shared(np.array_split(np.arange(size), processes)[process])
            found.append(list(itertools.islice(own.iterate(first), last - first)))
        for step, batches in enumerate(zip(*found, strict=True), first):
            expected = whole.batch(step)
            for name in ('inputs', 'labels'):
                together = np.concatenate([batch[name] for batch in batches])
                np.testing.assert_array_equal(together, expected[name], err_msg=f'{name} {step}')
            assert all(np.array_equal(batch['index'], expected['index']) for batch in batches)
            read.append(expected['index'])
    for epoch in (read[:every], read[every:]):
        assert np.bincount(np.concatenate(epoch), minlength=len(data)).max() == 1


def test_a_batch_is_a_pure_function_of_seed_and_step():
    data = arrays(20)
    one, two = TrainStream(data, 6, seed=3), TrainStream(data, 6, seed=3)
    later = [two.batch(step) for step in (7, 2, 30)]
    for step, batch in zip((7, 2, 30), later, strict=True):
        same(one.batch(step), batch)
    other = TrainStream(data, 6, seed=4)
    assert not np.array_equal(one.batch(0)['index'], other.batch(0)['index'])
    assert not np.array_equal(one.batch(0)['index'], one.batch(3)['index'])  # the next epoch


@pytest.mark.parametrize('start', [0, 5])
def test_iterating_equals_asking_step_by_step(start):
    stream = TrainStream(arrays(20), 6, seed=3)
    found = list(itertools.islice(stream.iterate(start), 9))
    assert len(found) == 9
    for step, batch in enumerate(found, start):
        same(batch, stream.batch(step))


@pytest.mark.parametrize('start', [0, 4])
@pytest.mark.parametrize('size', [4, 16])
def test_files_read_ahead_come_in_the_same_order(files, start, size):
    for keep in (2**20, 0):
        stream = TrainStream(files, size, seed=3, image_size=(8, 8))
        stream._loader = Loader(files, (8, 8), cache_bytes=keep)
        want = TrainStream(files, size, seed=3, image_size=(8, 8))
        got = list(itertools.islice(stream.iterate(start), 12))
        for step, batch in enumerate(got, start):
            same(batch, want.batch(step))
        assert stream._loader.waits == (keep == 0)


def test_evaluation_sees_every_example_once_in_order(files):
    for data, size in ((arrays(10), 4), (arrays(8), 4), (arrays(3), 4), (files, 4)):
        batches = eval_batches(data, size, (8, 8))
        for _ in range(2):  # again, from what was kept
            got = list(batches)
            assert len(got) == len(batches)
            assert {len(b['mask']) for b in got} == {len(b['inputs']) for b in got} == {size}
            real = np.concatenate([b['index'][b['mask'] == 1] for b in got])
            assert real.tolist() == list(range(len(data)))
            labels = np.concatenate([b['labels'][b['mask'] == 1] for b in got])
            np.testing.assert_array_equal(labels, data.labels)
            assert sum(b['mask'].sum() for b in got) == len(data)


def test_a_masked_mean_equals_the_whole_arrays():
    data = arrays(11)
    sums = [(b['inputs'].mean((1, 2, 3)) * b['mask']).sum() for b in eval_batches(data, 4)]
    assert np.isclose(sum(sums) / 11, data.inputs.mean())


def test_an_empty_split_has_no_batches_and_cannot_be_trained_on():
    empty = arrays(3).take([])
    assert list(eval_batches(empty, 4)) == []
    with pytest.raises(UserError, match='no examples to train on'):
        TrainStream(empty, 4, seed=0)
    with pytest.raises(UserError, match='batch_size is 0'):
        TrainStream(arrays(3), 0, seed=0)


def test_the_network_decides_size_and_channels(files):
    rgb = Preprocessing(image_size=(6, 10))
    grey = Preprocessing(image_size=(6, 10), mean=(0,), std=(1,), channels=1)
    for data in (files, arrays(11)):
        for preprocessing in (rgb, grey):
            shape = (4, 6, 10, preprocessing.channels)
            stream = TrainStream(data, 4, 0, preprocessing=preprocessing)
            assert stream.batch(0)['inputs'].shape == shape
            assert stream.batch(0)['inputs'].dtype == np.uint8
            batches = eval_batches(data, 4, preprocessing=preprocessing)
            assert next(iter(batches))['inputs'].shape == shape
    asked = eval_batches(files, 4, (5, 5), preprocessing=rgb)
    assert next(iter(asked))['inputs'].shape == (4, 5, 5, 3)


def test_texts_stay_strings():
    data = Dataset(name='t', kind='text', inputs=list('abcde'), labels=[0] * 5, class_names='x')
    batch = TrainStream(data, 2, 0).batch(0)
    assert [type(text) for text in batch['inputs']] == [str, str]
    *_, last = eval_batches(data, 3)
    assert last['inputs'].tolist() == ['d', 'e', 'd']
    assert last['mask'].tolist() == [1, 1, 0]


def test_a_file_that_breaks_later_is_named_from_the_threads(files, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(Path(files.inputs[3]).read_bytes()[:150])
    inputs = list(files.inputs)
    inputs[3] = str(broken)
    data = Dataset(
        name='b', kind='image_file', inputs=inputs, labels=files.labels, class_names='ab'
    )
    for batches in (TrainStream(data, 4, 0, (8, 8)).iterate(0), eval_batches(data, 4, (8, 8))):
        with pytest.raises(UserError, match=r'broken\.png: broken image'):
            list(itertools.islice(batches, 5))


PROGRAM = """
import sys
from ftjax.data import DataSettings, TrainStream, eval_batches, load_data
import hashlib
splits = load_data(DataSettings(source='digits:scattered', seed=5, examples_per_class=4))
digest = hashlib.sha256(splits.fingerprint.encode())
stream = TrainStream(splits.train, 8, seed=2, image_size=(20, 20))
for batch in (stream.batch(0), stream.batch(23), *eval_batches(splits.val, 64)):
    for key in sorted(batch):
        digest.update(batch[key].tobytes())
print(digest.hexdigest())
assert 'tensorflow' not in sys.modules and 'grain' not in sys.modules
"""


def test_another_process_draws_the_same_batches():
    def digest(hash_seed):
        environment = {**os.environ, 'PYTHONHASHSEED': hash_seed, 'JAX_PLATFORMS': 'cpu'}
        return subprocess.run(
            [sys.executable, '-c', PROGRAM],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        ).stdout

    assert len(digest('1').strip()) == 64
    assert digest('1') == digest('2')


def test_leaving_a_loop_over_files_early_lets_the_process_end(files, tmp_path):
    source = f'folder:{Path(files.inputs[0]).parents[1]}'
    program = (
        'from ftjax.data import *\n'
        f'd = load_data(DataSettings(source={source!r}))\n'
        'print(next(TrainStream(d.train, 2, 0, (8, 8)).iterate(0))["inputs"].shape)'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == '(2, 8, 8, 3)'
