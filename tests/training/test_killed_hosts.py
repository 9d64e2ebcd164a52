"""Two processes of four devices, killed at random moments and started again: the same end.

Leaves, frozen ones too, lie in parts over all eight devices, and checkpoints are written in the
background every second step. One or both processes get SIGKILL: while they start, within steps, or
while a checkpoint is half-written. The other process ends by itself, in bounded time, and says why.
50 kills are some 6 minutes of a core (24 took 3), and 15 to 20 by the clock, since the other
process is waited for; FTJAX_KILLS is their number.
"""

import collections
import os
import random
import re
import signal
import socket
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get('FTJAX_KILLS', '50'))
BOUND = 120
"""Seconds in which the other process has to end; it waits for up to 60 (killed_run.py)."""
MOMENTS, VICTIMS = ('start', 'step', 'save'), ((0,), (1,), (0, 1))
HALF = 'orbax-checkpoint-tmp'
WHY = re.compile(
    'error: another process of the run is gone: start all again'
    '|error: the processes of the run did not find each other'
    '|JAX distributed service detected fatal errors'
    '|gloo::EnforceNotMet'  # in a thread of Gloo, where devices of a process fail one by one
)


@pytest.fixture(scope='module')
def faults(repository):
    sys.path.insert(0, str(repository / 'scripts'))
    from faults import processes

    yield processes
    sys.path.remove(str(repository / 'scripts'))


class Pair:
    """The two processes of one start."""

    def __init__(self, faults, server, folder, start):
        with socket.socket() as one:
            one.bind(('127.0.0.1', 0))
            place = f'127.0.0.1:{one.getsockname()[1]}'
        self.folder, self.processes = folder, []
        self.logs = [folder.with_name(f'{folder.name}-{start}-{n}.log') for n in (0, 1)]
        for number, log in enumerate(self.logs):
            command = ['tests/training/killed_run.py', f'--workdir={folder}', '--count=2']
            command += [f'--coordinator={place}', f'--index={number}']
            pid = server.ask(start=command, log=str(log), env={})['pid']
            self.processes.append(faults.Child(server, pid))

    def said(self):
        return '\n'.join(log.read_text()[-2000:] for log in self.logs)

    def runs(self):
        return all(process.poll() is None for process in self.processes)

    def statuses(self, seconds):
        """Exit codes, of both; TimeoutError if one does not end."""
        return [process.wait(timeout=seconds) for process in self.processes]

    def finish(self):
        assert self.statuses(1200) == [0, 0], self.said()

    def wait(self, until, seconds):
        """Returns when `until()` holds, the time has passed, or a process has ended."""
        end = time.monotonic() + seconds
        while self.runs() and not until() and time.monotonic() < end:
            time.sleep(0.002)

    def checkpoints(self):
        folder = self.folder / 'checkpoints'
        return {*os.listdir(folder)} if folder.exists() else set()


def killed(pair, moment, victims, draw):
    """How the other process ended, '' where there is none; None if the pair had ended before."""
    before = pair.checkpoints()
    if moment == 'start':
        pair.wait(lambda: False, draw.uniform(0, 4))
    else:  # after its first checkpoint
        pair.wait(lambda: any(x.isdecimal() for x in pair.checkpoints() - before), 900)
        pair.wait(lambda: False, draw.uniform(0, 1))
    if moment == 'save':
        pair.wait(lambda: any(HALF in name for name in pair.checkpoints()), 60)
    if not pair.runs():
        pair.finish()
        return None
    assert not any(WHY.search(log.read_text()) for log in pair.logs), pair.said()
    for victim in victims:
        pair.processes[victim].send_signal(signal.SIGKILL)
    statuses = pair.statuses(BOUND)
    if 0 in statuses:  # it came to its end meanwhile
        return None
    other = {0, 1} - {*victims}
    found = [WHY.search(pair.logs[number].read_text()) for number in other]
    assert all(found), pair.said()
    return ''.join(one.group() for one in found)


def test_runs_that_are_killed_end_with_the_same_bits(faults, tmp_path):
    env = {
        'XLA_FLAGS': '--xla_force_host_platform_device_count=4',
        'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'programs'),
    }
    draw, ends, runs = random.Random(0), [], 0
    with faults.Server(env) as server:
        Pair(faults, server, tmp_path / 'alone', 0).finish()
        while len(ends) < KILLS:
            folder, runs, start = tmp_path / f'run-{runs}', runs + 1, 0
            while not (folder / 'end.npz').exists():
                pair, start = Pair(faults, server, folder, start), start + 1
                if len(ends) == KILLS:
                    pair.finish()
                    continue
                moment, victims, began = draw.choice(MOMENTS), draw.choice(VICTIMS), time.time()
                how = killed(pair, moment, victims, draw)
                if how is not None:
                    ends.append(how)
                    print(len(ends), moment, victims, f'{time.time() - began:.1f} s', how or '-')
            assert same(tmp_path / 'alone', folder), folder.name
    print(f'{len(ends)} kills, {runs} runs', collections.Counter(ends))


def same(one, other):
    """Whether two runs have the same weights, bit for bit, and the same rows of metrics."""
    rows = [(folder / 'metrics.jsonl').read_bytes() for folder in (one, other)]
    with np.load(one / 'end.npz') as first, np.load(other / 'end.npz') as second:
        equal = first.files == second.files and all(
            first[name].tobytes() == second[name].tobytes() for name in first.files
        )
    return equal and rows[0] == rows[1]
