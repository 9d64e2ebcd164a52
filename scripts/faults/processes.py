"""Child processes of the reliability script: scripts that are started, watched and ended."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Child:
    """A process that a server started."""

    def __init__(self, server, pid):
        self.server, self.pid, self.status = server, pid, None

    def poll(self):
        """The exit code, negative for a signal; None while it runs."""
        if self.status is None:
            self.status = self.server.ask(wait=self.pid)['status']
        return self.status

    def wait(self, timeout=300.0):
        """The exit code; TimeoutError, and the process is killed, where it does not end."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send_signal(9)
                raise TimeoutError(f'process {self.pid} did not end in {timeout:g} s')
            time.sleep(0.01)
        return self.status

    def send_signal(self, signum):
        """Sends a signal, if the process is still there."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


class Server:
    """A fork server; see fork_server.py.

    `before` is a command that ends with the words of another one to run, `unshare -m` say.
    """

    def __init__(self, env, before=()):
        self.env = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', **env}
        self.env |= {'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}  # nothing to fork but one
        self.process: Any = subprocess.Popen(
            [*before, sys.executable, 'scripts/faults/fork_server.py'],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f'the fork server ended with {self.process.wait()}')
        return json.loads(line)

    def ask(self, **order):
        """Sends an order and returns the answer."""
        self.process.stdin.write(json.dumps(order) + '\n')
        self.process.stdin.flush()
        return self.read()

    def start(self, case, folder, **env):
        """A child that trains, or runs the ablation of, a case of configs/reliability.py."""
        script = 'ablate' if case == 'vectorised' else 'train'
        command = [f'scripts/{script}.py', f'--config=configs/reliability.py:{case}']
        command.append(f'--workdir={folder}')
        return Child(self, self.ask(start=command, log=f'{folder}.log', env=env)['pid'])

    def finish(self, case, folder, **env):
        """Lets a run come to its end; RuntimeError if it does not."""
        status = self.start(case, folder, **env).wait()
        if status:
            raise RuntimeError(f'{case} in {folder} ended with {status}:\n{said(folder)}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def said(folder, most=2000):
    """What the runs in a folder printed, or the end of it."""
    text = pathlib.Path(f'{folder}.log').read_text(errors='replace')
    return text if most is None else text[-most:]
