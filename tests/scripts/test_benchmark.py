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


def test_rows_of_another_machine_stay_beside_those_measured_here(
    repository, monkeypatch, tmp_path, capsys
):
    monkeypatch.syspath_prepend(repository / 'scripts')
    tables = importlib.import_module('benchmarks.tables')
    other = {**tables.this_machine(), 'processor': 'Other 9000', 'row': 'full', 'ratio': 2.0}
    old = {'device': 'cpu', 'threads': 2, 'row': 'full', 'ratio': 3.0}  # before machines were named
    (tmp_path / 'step.json').write_text(json.dumps([other, old]))
    for ratio in (0.5, 0.75):  # the second run replaces the row of the first
        tables.write(tmp_path, 'step', [{'row': 'full', 'ratio': ratio}], 'Said.', 'python x')
    rows = json.loads((tmp_path / 'step.json').read_text())
    assert [row['ratio'] for row in rows] == [0.75, 2.0, 3.0]
    assert [row['ratio'] for row in tables.rows_here(tmp_path, 'step').values()] == [0.75]
    page = (tmp_path / 'step.md').read_text()
    assert page.count('| full |') == 3 and 'Other 9000' in page and 'not recorded' in page
    assert page.endswith(capsys.readouterr().out[-100:])


def test_a_table_of_no_times_names_no_machine(repository, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(repository / 'scripts')
    tables = importlib.import_module('benchmarks.tables')
    rows = [{'device': 'cpu', 'threads': 2, 'row': 'null', 'missed': 0.05}]
    tables.write(tmp_path, 'table', rows, 'Said.', 'python x', show=False, timed=False)
    assert json.loads((tmp_path / 'table.json').read_text()) == [{'row': 'null', 'missed': 0.05}]
    assert 'Device' not in (tmp_path / 'table.md').read_text()


def test_the_law_of_scaling_is_found_again(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / 'scripts')
    scaling = importlib.import_module('benchmarks.scaling')
    law = [0.04, 0.06, 0.3, 0.6]
    work = {  # trained parameters, forward products, those of gradients
        'depth 3': (0.26, 0.25, 0.25),
        'batch 4': (1, 0.25, 0.25),
        'batch 32': (1, 2, 2),
        'tokens 10': (0.99, 0.2, 0.2),
        'trained head': (0.01, 1, 0.0),
        'trained full': (1, 1, 1),
        'width 96': (0.25, 0.25, 0.25),
    }
    rows = [
        {
            'row': name,
            'time_of_base': law[0] + sum(a * b for a, b in zip(law[1:], terms, strict=True)),
            **dict(zip(scaling.WORK, terms, strict=True)),
        }
        for name, terms in work.items()
    ]
    rows[-1]['time_of_base'] = 5.0  # another law
    assert scaling.with_law(rows) == pytest.approx(law)
    assert [row['law_over_time'] for row in rows] == [*[pytest.approx(1.0)] * 6, None]
    assert scaling.with_law([{'row': 'seeds 4', 'time_of_base': 1.7}]) == []
    assert scaling.with_law([row for row in rows if row['row'].startswith('batch')]) == []
