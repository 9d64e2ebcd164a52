"""The benchmark script says in one line what it cannot do."""

import importlib.util
import subprocess
import sys

import pytest


def said(repository, *words):
    command = [sys.executable, repository / 'scripts' / 'benchmark.py', *words]
    found = subprocess.run(command, capture_output=True, text=True, cwd=repository, check=False)
    assert found.returncode == 2 and found.stdout == ''
    (line,) = found.stderr.strip().split('\n')
    return line


def test_unknown_names_are_told_with_the_nearest(repository):
    assert "did you mean 'probe'" in said(repository, 'prob')
    assert "did you mean 'rounds'" in said(repository, 'cached', 'round=3')


@pytest.mark.skipif(importlib.util.find_spec('torch') is not None, reason='torch is there')
def test_without_torch_it_says_which_extra_is_missing(repository):
    assert 'ftjax[parity]' in said(repository, '--what=cached')
