"""Runs that are killed, stopped or damaged end as if nothing had been: the script that tries it."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_nothing_is_lost(tmp_path, repository):
    command = [sys.executable, 'scripts/reliability.py', f'--workdir={tmp_path / "runs"}']
    done = subprocess.run(
        [*command, f'--results={tmp_path / "results"}', '--kills=4', '--terms=1', '--damages=30'],
        cwd=repository,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
        capture_output=True,
        text=True,
        timeout=2400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = json.loads((tmp_path / 'results' / 'table.json').read_text())
    tried = dict.fromkeys(('SIGKILL', 'SIGTERM', 'damage'), 0)
    for row in rows:
        assert row['lost'] == 0, row
        for kind in tried:
            tried[kind] += row['tried'] * row['case'].startswith(kind)
    assert tried == {'SIGKILL': 4 * 16, 'SIGTERM': 4, 'damage': 30}
    made = (tmp_path / 'runs' / 'rows.json').stat().st_mtime_ns
    again = subprocess.run(done.args, cwd=repository, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr[-2000:]
    assert (tmp_path / 'runs' / 'rows.json').stat().st_mtime_ns == made  # rows there are, are kept


def test_the_table_in_the_repository_is_whole(repository):
    rows = json.loads((repository / 'results' / 'reliability' / 'table.json').read_text())
    assert sum(row['tried'] for row in rows if row['case'].startswith('SIGKILL')) >= 50
    assert sum(row['tried'] for row in rows if row['case'].startswith('damage')) >= 30
    assert all(row['lost'] == 0 for row in rows)
