"""The tiny networks beside the tests, and a cache of their own."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path_factory.mktemp('cache')))
