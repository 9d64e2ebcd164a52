"""An ablation of an NNX model of one's own: in one process, and by workers that build it anew."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from ftjax import registry
from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.engines.engine import InProcess
from ftjax.ablation.settings import read_ablation
from ftjax.config import plain

FILE = pathlib.Path(__file__).with_name('own_nnx.py')
ARMS = {'full', 'last:1', 'lora:2', 'head'}


def test_arms_start_from_one_model_and_train_their_own_part(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'model', dict(registry.parts('model')))
    spec = importlib.util.spec_from_file_location('grid_of_nnx', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config('grid')
    config.ablation.arms = {'last:1': 'last:1', 'head': 'head'}
    config.ablation.seeds = (0,)
    values = plain(config)
    settings = read_ablation(values.pop('ablation'))
    rows, _, _ = run_grids(values, settings, tmp_path, InProcess())
    assert {row['arm']: row['status'] for row in rows} == {'last:1': 'ok', 'head': 'ok'}
    # The new head's 16 x 10 and 10; the block's dense layer and norm too.
    trained = {row['arm']: row['params_trainable'] for row in rows}
    assert trained == {'head': 170, 'last:1': 170 + 16 * 16 + 3 * 16}
    assert all(row['frozen_unchanged'] for row in rows)


@pytest.mark.slow
def test_workers_give_the_rows_that_one_process_gives(repository, tmp_path):
    found = {}
    for engine in (('--engine=in_process',), ('--engine=processes', '--workers=2')):
        folder = tmp_path / engine[0].partition('=')[2]
        words = [f'--config={FILE}:grid', f'--workdir={folder}', '--vectorise=off', *engine]
        done = subprocess.run(
            [sys.executable, 'scripts/ablate.py', *words],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'FTJAX_CACHE': str(tmp_path / 'cache')},
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        rows = [json.loads(line) for line in (folder / 'runs.jsonl').open()]
        assert len(rows) == 2 * len(ARMS) and {row['status'] for row in rows} == {'ok'}
        found[folder.name] = {
            (row['arm'], row['seed']): (row['val'], row['test'], row['params_trainable'])
            for row in rows
        }
        assert (folder / 'report.html').exists()
    assert found['in_process'] == found['processes']
    assert {arm for arm, _ in found['processes']} == ARMS
