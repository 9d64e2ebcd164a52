"""Two processes of four devices share a split: the metrics of one, and half of the reading."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name('shared_cases.py')
ROOT = SCRIPT.parents[2]


def started(devices, *process):
    flag = f'--xla_force_host_platform_device_count={devices}'
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *process],
        cwd=ROOT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def alike(one, other, path=()):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            alike(one[key], other[key], (*path, key))
    elif isinstance(one, (int, float)):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-6), path
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other, strict=True)):
            alike(*pair, (*path, number))


@pytest.mark.slow
def test_two_processes_have_the_metrics_of_one_and_read_half_each():
    with socket.socket() as port:
        port.bind(('127.0.0.1', 0))
        place = f'127.0.0.1:{port.getsockname()[1]}'
    pair = [started(4, place, '2', str(number)) for number in (0, 1)]
    alone = started(1)
    both, whole = [ended(process) for process in pair], ended(alone)
    assert [one['devices'] for one in (*both, whole)] == [8, 8, 1]
    assert both[0]['found'] == both[1]['found']
    alike(whole['found'], both[0]['found'])
    for name, count in whole['read'].items():
        first, second = (one['read'][name] for one in both)
        # Eight of sixteen, and all five of the last batch, of which the second pads with one.
        shares = {
            'stored': (21, 1),  # one batch of 64 is computed: the second pads with one
            'windows': (11, 10 + 1),  # the second pads its last batch with the first image
        }
        assert (count, first, second) == (21, *shares.get(name, (8 + 5, 8 + 1))), name
