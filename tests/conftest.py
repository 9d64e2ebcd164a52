"""What all tests share: a CPU, one compilation cache, the optional data and torch."""

import atexit
import gc
import importlib.util
import os
import pathlib
import shutil
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Set before JAX is imported, and in the environment, so that scripts run by tests share them.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    _cache = tempfile.mkdtemp(prefix='ftjax-test-programs-')
    os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')
# A script's process takes ftjax from this checkout too, whatever the environment has installed.
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
)
# Tiny networks take longer to compile than to run. `scripts/test.sh --all` optimises as usual.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')

DATA = pathlib.Path(os.environ.get('FTJAX_DATA') or ROOT.parent / 'shared' / 'data')


SLOW = {
    line
    for line in (ROOT / 'tests' / 'slow_tests.txt').read_text().splitlines()
    if not line.startswith('#')
}


# Few tests that take long: run last, one process would wait for them.
LONG_FILES = (
    'tests/test_package.py',
    'tests/serving/test_task_bundles.py',
    'tests/training/test_cache.py',
    'tests/freezing/test_frozen_means_frozen.py',
    'tests/serving/test_text_bundle.py',
    'tests/test_scripts.py',
    'tests/freezing/test_every_strategy.py',
    'tests/test_launch.py',
    'tests/test_api.py',
    'tests/export/test_export_weights.py',
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what slow_tests.txt lists; skips what needs the optional data or torch without them.

    Files that take long come first; scripts/test.sh keeps that order.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONG_FILES))
    without = {}
    if not DATA.is_dir():
        without['data'] = f'no data folder {DATA} (set FTJAX_DATA)'
    if not all(importlib.util.find_spec(name) for name in ('torch', 'transformers')):
        without['torch'] = 'needs the parity extra: bash scripts/test.sh --all'
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker(pytest.mark.slow)
        for mark, reason in without.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish():
    """What is alive for all of the run need not be looked through again; see below."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """After each file, what is still alive is kept out of later garbage collections.

    JAX keeps its programs, so the heap only grows, and a full collection looks through all of it.
    In three files of models and images: 17 collections of .9 CPU seconds together, not 12 of 2.
    """
    done = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
    return done


@pytest.fixture(scope='session')
def data_folder():
    """The optional data folder (FTJAX_DATA); tests that use it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f'no data folder {DATA} (set FTJAX_DATA)')
    return DATA


@pytest.fixture(scope='session')
def repository():
    """The root of the checkout."""
    return ROOT
