"""The benchmark script says in one line what it cannot do."""

import importlib.util
import json
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


def test_a_table_is_compared_with_an_older_one_by_its_intervals(repository, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(repository / 'scripts')
    quickstart = importlib.import_module('benchmarks.quickstart')
    known = quickstart.means(repository / 'results' / 'quickstart' / 'summary.json')
    assert {'full', 'head', 'pixels'} < set(known) and quickstart.within(known, known) == len(known)
    summary = json.loads((repository / 'results/quickstart/summary.json').read_text())
    for found in summary['tasks'][0]['arms']:
        if found['arm'] in ('full', 'head'):
            found['mean']['estimate'] = found['mean']['low'] - 0.01
    (tmp_path / 'summary.json').write_text(json.dumps(summary))
    other = quickstart.means(tmp_path / 'summary.json')
    assert quickstart.within(other, known) == len(known) - 2
