"""Provenance names the commit, whether code differs from it, and the machine."""

import json
import pathlib
import subprocess
import sys

import pytest

from ftjax.io.process import provenance


def _git(folder, *arguments):
    identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'core.hooksPath=']
    done = subprocess.run(
        ['git', '-C', str(folder), *identity, *arguments], check=True, capture_output=True
    )
    return done.stdout.decode().strip()


def test_git_state_knows_code_from_results(tmp_path):
    assert provenance.git_state(tmp_path) is None
    _git(tmp_path, 'init', '-q')
    (tmp_path / 'ftjax').mkdir()
    code = tmp_path / 'ftjax' / 'a.py'
    code.write_text('a = 1\n')
    _git(tmp_path, 'add', '.')
    _git(tmp_path, 'commit', '-qm', 'first')
    commit = _git(tmp_path, 'rev-parse', 'HEAD')
    (tmp_path / 'results.json').write_text('{}')
    assert provenance.git_state(tmp_path) == {'commit': commit, 'dirty': False}
    code.write_text('a = 2\n')
    assert provenance.git_state(tmp_path) == {'commit': commit, 'dirty': True}
    # A folder inside somebody's repository is not that repository's commit.
    assert provenance.git_state(tmp_path / 'ftjax') is None


def test_everything_is_json_and_extras_are_kept():
    found = provenance.provenance(seeds=[0, 1])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found['seeds'] == [0, 1]
    assert {'python', 'jax', 'numpy'} <= set(found['versions'])
    assert found['host']['cores'] >= 1 and found['host']['devices'] >= 1


def test_command_is_quoted(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['scripts/train.py', '--config.data.source=csv:a b.csv'])
    expected = "python scripts/train.py '--config.data.source=csv:a b.csv'"
    assert provenance.command_line() == expected


def test_peak_memory_is_what_the_system_counts():
    status = pathlib.Path('/proc/self/status')
    if not status.exists():
        pytest.skip('only Linux shows its count')
    counted = provenance.peak_memory()['host_bytes']
    line = next(row for row in status.read_text().splitlines() if row.startswith('VmHWM'))
    assert counted == pytest.approx(int(line.split()[1]) * 1024, rel=0.05)
