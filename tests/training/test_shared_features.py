"""Processes of one ablation compute features once: the others wait, and read the same bits."""

import threading
import time

import jax
import numpy as np
import pytest

from ftjax.io.files.kernel_lock import waited_for
from ftjax.training.feature_cache import store

KEY = 'a1' * 32
SHAPES = {'hidden': jax.ShapeDtypeStruct((2,), 'float32')}


@pytest.fixture
def shared(tmp_path):
    """A folder that is shared for the length of a test."""
    folder = tmp_path / 'shared_features'
    store.forget()
    store.share_in(folder)
    yield folder
    store._SHARED.clear()
    store.forget()


def kept(fill, key=KEY):
    return store.in_memory(key, SHAPES, 3, 10**6, fill)


def test_the_first_process_computes_and_others_wait_for_it(shared):
    calls, found = [], []

    def fill(arrays):
        calls.append(threading.get_ident())
        time.sleep(0.2)
        arrays['hidden'][:] = 1.5

    def ask():  # by the lock of a file, which threads share no more than processes do
        found.append(store.shared(KEY, SHAPES, 3, fill, store.trusted))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(found) == 4
    for features in found:
        np.testing.assert_array_equal(features.arrays['hidden'], np.full((3, 2), 1.5, 'float32'))
    assert [place.name for place in shared.iterdir()] == [KEY]  # and no lock is left


def test_a_process_reads_the_files_once_and_gives_the_bits_of_its_own(shared):
    def fill(arrays):
        arrays['hidden'][:] = np.arange(6, dtype='float32').reshape(3, 2) / 7

    alone = store.made(KEY, SHAPES, 3, fill)
    first = kept(fill)
    store.forget()
    second = kept(lambda arrays: pytest.fail('computed again'))
    assert kept(None) is second
    for one in (first, second):
        assert one.arrays['hidden'].tobytes() == alone.arrays['hidden'].tobytes()


def test_where_no_file_can_be_features_stay_in_memory(tmp_path, shared, caplog):
    shared.write_text('a file in the place of the folder')
    found = kept(lambda arrays: arrays['hidden'].fill(2))
    assert found.arrays['hidden'].tolist() == [[2, 2]] * 3
    assert 'features are kept in memory: features cannot be stored in' in caplog.text


def test_what_was_shared_is_removed_and_nothing_else(shared):
    kept(lambda arrays: arrays['hidden'].fill(2))
    (shared / 'mine').mkdir()
    store.drop_shared(shared)
    assert [place.name for place in shared.iterdir()] == ['mine']
    (shared / 'mine').rmdir()
    store.drop_shared(shared)
    assert not shared.exists()
    store.drop_shared(shared)


def test_a_lock_that_cannot_be_keeps_nobody_waiting(tmp_path):
    (tmp_path / 'file').touch()
    with waited_for(tmp_path / 'file' / 'x.lock'):
        pass
