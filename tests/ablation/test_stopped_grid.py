"""A signal stops a grid between two cells or inside one; the same command goes on."""

import os
import signal
import time

import pytest

from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.preemption import requested, stop_if_requested
from ftjax.io.json.jsonl import read_jsonl

SETTINGS = AblationSettings(
    arms={'head': 'head', 'full': 'full'}, rates=(1e-3, 1e-2, 1e-1), seeds=(0, 1)
)


def execute(arm, rate, seed):
    accuracy = {1e-3: 0.5, 1e-2: 0.9, 1e-1: 0.6}.get(rate, 0.1) + 0.01 * seed
    return {'status': 'ok', 'val': {'accuracy': accuracy}, 'test': {'accuracy': accuracy}}


@pytest.mark.parametrize('inside', [True, False])
def test_it_stops_and_the_rest_is_run_later(tmp_path, inside):
    cells = []

    def stopped(*cell):
        cells.append(cell)
        if len(cells) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            end = time.monotonic() + 5
            while requested() is None and time.monotonic() < end:
                time.sleep(0.001)
            if inside:  # as the training loop of the cell does
                stop_if_requested()
        return execute(*cell)

    done = 3 if inside else 4
    with pytest.raises(Interrupted, match=f'by SIGTERM after {done} finished runs; the same com'):
        run_grid(SETTINGS, stopped, tmp_path / 'parts', {}, progress=False)
    assert len(read_jsonl(tmp_path / 'parts' / 'runs.jsonl')) == done
    rows = run_grid(SETTINGS, execute, tmp_path / 'parts', {}, progress=False)
    whole = run_grid(SETTINGS, execute, tmp_path / 'whole', {}, progress=False)

    def keys(rows):
        return [(row['arm'], row['rate'], row['seed'], row['val']) for row in rows]

    assert sorted(map(str, keys(rows))) == sorted(map(str, keys(whole)))
