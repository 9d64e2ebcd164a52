"""Tiny runs end with the bits that were recorded, on the kind of machine they were recorded on."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = pathlib.Path(__file__).with_name('runs.py')
_spec = importlib.util.spec_from_file_location('runs', SCRIPT)
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)


@pytest.mark.slow
@pytest.mark.parametrize('name', runs.NAMES)
def test_a_run_ends_with_the_recorded_bits(name, monkeypatch):
    # Programs that are compiled quickly: the bits of both kinds hang on the same code.
    monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
    known = json.loads(runs.FILE.read_text())
    if runs.kind() not in known:
        pytest.skip(f'nothing is recorded for {runs.kind()}')
    done = subprocess.run(
        [sys.executable, SCRIPT, name],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    last = done.stdout.strip().splitlines()[-1].split()
    assert last[:2] == [name, known[runs.kind()][name]]
