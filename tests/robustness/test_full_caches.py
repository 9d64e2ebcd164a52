"""A cache that finds its disk full is one line, or is passed over; nothing half written is left."""

import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.training.feature_cache import store

resource = pytest.importorskip('resource')
SHAPES = {'hidden': jax.ShapeDtypeStruct((1000,), np.float32)}


def ones(arrays):
    arrays['hidden'][:] = 1


@pytest.fixture
def small_files():
    """No file can be longer than 64 KiB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_features_without_room_are_refused_before_they_are_computed(tmp_path, small_files):
    def never(arrays):
        raise AssertionError('computed without room')

    with pytest.raises(UserError, match=r'features cannot be stored in .*: File too large'):
        store.in_files('k' * 64, SHAPES, 100, tmp_path, never)
    assert list(tmp_path.iterdir()) == []


def test_what_fits_is_stored(tmp_path, small_files):
    found = store.in_files('k' * 64, SHAPES, 10, tmp_path, ones)
    assert found.arrays['hidden'].sum() == 10_000


FULL = """
    import sys

    import jax
    import numpy as np

    from ftjax.training.feature_cache.store import in_files

    shapes = {'hidden': jax.ShapeDtypeStruct((1000,), np.float32)}
    try:
        in_files('k' * 64, shapes, 100, sys.argv[1], lambda arrays: arrays['hidden'].fill(1))
    except ValueError as error:
        print(error)
"""


def test_a_disk_that_is_really_full_does_not_end_the_process(tmp_path, repository):
    # A page of a sparse mapped file that finds no room is no exception: it was SIGBUS.
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'full.py').write_text(textwrap.dedent(FULL))
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    before = ['unshare', '-rm', 'sh', '-c', mount, str(tmp_path / 'disk')]
    try:
        subprocess.run([*before, 'true'], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('no small disk can be mounted here')
    done = subprocess.run(
        [*before, sys.executable, str(tmp_path / 'full.py'), str(tmp_path / 'disk')],
        env={**os.environ, 'PYTHONPATH': str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'No space left on device' in done.stdout
