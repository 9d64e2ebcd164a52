"""scripts/train.py as two processes: stopped, killed, refused, and gone on with by one alone."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from ftjax.io.json.jsonl import read_jsonl

pytestmark = pytest.mark.slow
FLAGS = ('--config=configs/reliability.py:plain', '--config.data.batch_size=8')


def start(repository, folder, *flags, devices=1):
    with open(f'{folder}.log', 'ab') as log:
        return subprocess.Popen(
            [sys.executable, 'scripts/train.py', f'--workdir={folder}', *FLAGS, *flags],
            cwd=repository,
            env={
                **os.environ,
                'JAX_PLATFORMS': 'cpu',
                'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
            },
            stdout=log,
            stderr=log,
        )


def pair(repository, folder, *flags):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        place = f'127.0.0.1:{one.getsockname()[1]}'
    known = (f'--coordinator={place}', '--num_processes=2')
    return [
        start(repository, folder, *known, f'--process_id={n}', *flags, devices=2) for n in (0, 1)
    ]


def rows_of(folder):
    return read_jsonl(folder / 'metrics.jsonl')


def wait_for_rows(folder, count, processes):
    end = time.monotonic() + 400
    while len(rows_of(folder)) < count:
        assert time.monotonic() < end and all(p.poll() is None for p in processes), said(folder)
        time.sleep(0.05)


def statuses(processes, seconds):
    try:
        return [process.wait(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def said(folder):
    return pathlib.Path(f'{folder}.log').read_text()[-3000:]


def alike(folder, other):
    """Whether two runs have the same rows to 1e-4, and frozen leaves as they were."""
    one, two = rows_of(folder), rows_of(other)
    assert [row['step'] for row in one] == [row['step'] for row in two]
    for name in ('train_loss', 'val_loss'):
        assert np.allclose([r[name] for r in one], [r[name] for r in two], atol=1e-4), name
    results = [json.loads((f / 'result.json').read_text()) for f in (folder, other)]
    return all(result['frozen_unchanged'] for result in results)


@pytest.fixture(scope='module')
def whole(repository, tmp_path_factory):
    """The run of one process on one device."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    assert start(repository, folder).wait(timeout=400) == 0, said(folder)
    return folder


def test_a_signal_to_one_stops_both_and_one_alone_goes_on(repository, tmp_path, whole):
    folder = tmp_path / 'run'
    both = pair(repository, folder, '--config.mesh.fsdp=2')
    wait_for_rows(folder, 2, both)
    both[1].send_signal(signal.SIGTERM)
    assert statuses(both, 120) == [143, 143], said(folder)
    stops = [line for line in said(folder).splitlines() if 'stopped by SIGTERM at step' in line]
    assert len(stops) == 2 and stops[0] == stops[1] and 'saved' in stops[0]
    saved = [int(path.name) for path in (folder / 'checkpoints').glob('[0-9]*')]
    assert f'at step {max(saved)} of 40' in stops[0]
    assert not (folder / '.lock').exists() and not (folder / 'result.json').exists()
    assert start(repository, folder).wait(timeout=400) == 0, said(folder)
    assert alike(folder, whole)
    # Both may look at a finished run.
    assert statuses(pair(repository, folder), 200) == [0, 0]


@pytest.mark.parametrize('killed', [0, 1])
def test_the_other_ends_when_one_is_killed(repository, tmp_path, whole, killed):
    folder = tmp_path / 'run'
    both = pair(repository, folder)
    wait_for_rows(folder, 2, both)
    both[killed].kill()
    found = statuses(both, 150)
    assert found[killed] == -signal.SIGKILL and found[1 - killed] != 0
    assert not (folder / 'result.json').exists()
    assert start(repository, folder, devices=4).wait(timeout=400) == 0, said(folder)
    assert alike(folder, whole)


def test_an_error_of_one_ends_both(repository, tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    (folder / 'checkpoints').write_text('')  # the first process alone wants a folder there
    both = pair(repository, folder)
    found = statuses(both, 200)
    assert found[0] == 2 and found[1] != 0
    assert 'error: cannot write checkpoints' in said(folder)


def test_processes_of_different_configs_are_refused(repository, tmp_path):
    folder = tmp_path / 'run'
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        place = f'127.0.0.1:{one.getsockname()[1]}'
    known = (f'--coordinator={place}', '--num_processes=2')
    both = [
        start(repository, folder, *known, f'--process_id={n}', f'--config.seed={n}', devices=2)
        for n in (0, 1)
    ]
    assert statuses(both, 200) == [2, 2]
    assert 'process 1 has another config than process 0' in said(folder)
    assert not (folder / 'config.json').exists()
