"""What all tests share: a CPU, one compilation cache, the optional data and torch."""

import atexit
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
    'tests/test_scripts.py',
    'tests/training/test_cache.py',
    'tests/scripts/test_evaluate.py',
    'tests/training/test_masked_training.py',
    'tests/scripts/test_audit_script.py',
    'tests/export/test_export_weights.py',
    'tests/freezing/test_frozen_means_frozen.py',
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
