"""Killed twenty times at random moments, a grid ends with the table it has when left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from toy_cells import MANY, main

from ftjax.io.json.jsonl import read_jsonl

KILLS = 20


def begin(folder, engine):
    """The grid as a process group of its own; what it says goes to `log` beside the folder."""
    script = os.path.join(os.path.dirname(__file__), 'toy_cells.py')
    with open(folder.parent / 'log', 'a') as log:
        return subprocess.Popen(
            [sys.executable, script, str(folder), engine, '0.1'],
            start_new_session=True,
            stdout=log,
            stderr=log,
        )


def group_of(leader):
    """Processes of a group that have not ended."""
    found = []
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{name}/stat') as file:
                state, _, group = file.read().rpartition(')')[2].split()[:3]
        except OSError:
            continue
        if int(group) == leader and state not in 'ZX':
            found.append(int(name))
    return found


def ended(leader, seconds=10.0):
    """Whether nothing of a group is left, soon."""
    end = time.monotonic() + seconds
    while group_of(leader) and time.monotonic() < end:
        time.sleep(0.05)
    return not group_of(leader)


def wait_for(condition, process, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize('engine', ['in_process', 'processes'])
def test_the_table_is_that_of_a_grid_left_alone(tmp_path, engine):
    draw = random.Random(engine)
    folder, whole = tmp_path / 'killed', tmp_path / 'whole'
    rows = folder / 'runs.jsonl'
    counts = []
    for kill in range(KILLS):
        before = len(read_jsonl(rows))
        process = begin(folder, engine)
        # By turns in the midst of cells and anywhere from the start of the process on.
        if kill % 2:
            wait_for(lambda n=before: len(read_jsonl(rows)) > n, process)
        time.sleep(draw.uniform(0, 0.3 if kill % 2 else 2.0))
        assert process.poll() is None, 'it ended before it was killed: too small a grid'
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert ended(process.pid)
        counts.append(len(read_jsonl(rows)))
    assert counts == sorted(counts) and counts[-1] > 10
    process = begin(folder, engine)
    assert process.wait(120) == 0, (tmp_path / 'log').read_text()
    main(whole, 'in_process', 0)
    for name in ('table.md', 'summary.json'):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    cells = [(row['arm'], row['rate'], row['seed']) for row in read_jsonl(rows)]
    assert len(cells) == len(set(cells)) == len(read_jsonl(whole / 'runs.jsonl'))


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_grid_ends_its_workers_and_goes_on(tmp_path, number):
    folder = tmp_path / 'grid'
    process = begin(folder, 'processes')
    wait_for(lambda: len(read_jsonl(folder / 'runs.jsonl')) > 3, process)
    if number == signal.SIGINT:  # as a terminal does: to all of the group
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    began = time.monotonic()
    process.wait(60)
    assert time.monotonic() - began < 15
    assert f'stopped by {number.name} after' in (tmp_path / 'log').read_text()
    assert ended(process.pid)
    done = len(read_jsonl(folder / 'runs.jsonl'))
    assert 3 < done < 30
    main(folder, 'in_process', 0)
    assert len(read_jsonl(folder / 'runs.jsonl')) >= len(MANY.seeds) * 7


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed_alone(tmp_path):
    process = begin(tmp_path / 'grid', 'processes')
    rows = tmp_path / 'grid' / 'runs.jsonl'
    wait_for(lambda: len(read_jsonl(rows)) > 1, process)
    assert len(group_of(process.pid)) >= 3
    process.kill()
    process.wait()
    assert ended(process.pid)
