"""Tiny runs end with the bits that were recorded, on the kind of machine they were recorded on."""

import importlib.util
import json
import pathlib

import pytest

_spec = importlib.util.spec_from_file_location('runs', pathlib.Path(__file__).with_name('runs.py'))
runs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runs)


@pytest.mark.slow
@pytest.mark.parametrize('name', runs.NAMES)
def test_a_run_ends_with_the_recorded_bits(name):
    known = json.loads(runs.FILE.read_text())
    if runs.kind() not in known:
        pytest.skip(f'nothing is recorded for {runs.kind()}')
    assert runs.found(name) == known[runs.kind()][name]
