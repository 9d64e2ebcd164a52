"""The training script with every strategy that the plan script lists, on the embedded task."""

import json
import subprocess
import sys

import pytest

from ftjax.freezing.registry import catalogue

EXAMPLES = [found.example for _, found in sorted(catalogue().items())]


def test_the_list_names_them_all(repository):
    call = [sys.executable, 'scripts/plan.py', '--list', 'strategy']
    listed = subprocess.run(call, cwd=repository, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line[:1].strip()]
    assert sorted(names) == sorted(EXAMPLES) and len(names) >= 35


@pytest.mark.slow
@pytest.mark.parametrize('strategy', EXAMPLES)
def test_it_trains(repository, tmp_path, strategy):
    done = subprocess.run(
        [
            *(sys.executable, 'scripts/train.py', '--config=configs/quickstart_train.py'),
            *(f'--config.freeze={strategy}', f'--workdir={tmp_path / "run"}'),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / 'run' / 'result.json').read_text('utf-8'))
    assert result['strategy'] == strategy and result['frozen_unchanged']
    if strategy != 'reinit_top:5':  # all blocks of the small network begin anew
        assert result['metrics']['accuracy'] > 0.4
