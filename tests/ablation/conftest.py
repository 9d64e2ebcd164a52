"""Makes toy_cells.py importable by the tests of this folder, and by the workers they start."""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def cluster(monkeypatch):
    """Skips where Ray is missing; its actors do not inherit the path of modules."""
    pytest.importorskip('ray')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(map(str, (HERE, HERE.parent.parent))))
