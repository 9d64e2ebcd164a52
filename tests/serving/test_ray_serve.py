"""scripts/deploy/ray_serve.py: two replicas answer as the bundle, and one that dies comes back."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ftjax.serving.bundle.goldens import read_goldens

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = os.environ.get('FTJAX_RAY_PYTHON') or (
    sys.executable if importlib.util.find_spec('ray') else None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason='needs ray[serve] here, or by FTJAX_RAY_PYTHON'),
]
PATIENCE = 180.0


class Cluster:
    """Ray Serve with two replicas on a free port of the loopback."""

    def __init__(self, bundle, folder):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.log = folder / 'log'
        script = ROOT / 'scripts' / 'deploy' / 'ray_serve.py'
        flags = [f'--bundle={bundle}', '--replicas=2', f'--port={self.port}']
        own = {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'RAY_USAGE_STATS_ENABLED': '0'}
        with self.log.open('w') as log:
            self.process = subprocess.Popen(
                [str(PYTHON), str(script), *flags],
                stdout=log,
                stderr=log,
                env={**os.environ, **own},
            )

    def __enter__(self):
        self.until(lambda: self.ask('/readyz')[0] == 200)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
            self.process.kill()
        self.process.wait()

    def until(self, done):
        """Waits until it is so."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if done():
                    return
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def ask(self, path, body=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        try:
            kind = {'Content-Type': 'application/json'}
            connection.request('POST' if body else 'GET', path, body, kind)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def replicas(self):
        """Processes of replicas of this cluster, and of no other."""
        found = []
        for folder in pathlib.Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(OSError):
                title = (folder / 'cmdline').read_bytes()
                if title.startswith(b'ray::ServeReplica') and self.started(int(folder.name)):
                    found.append(int(folder.name))
        return found

    def started(self, process):
        """Whether a process is a descendant of ours."""
        while process > 1:
            if process == self.process.pid:
                return True
            told = pathlib.Path(f'/proc/{process}/stat').read_text()
            process = int(told.rpartition(')')[2].split()[1])
        return False


def test_two_replicas_answer_as_the_bundle_and_a_killed_one_comes_back(images, tmp_path):
    goldens = read_goldens(images.bundle)
    bodies = [
        json.dumps({'inputs': [{'pixels': one[..., 0].tolist()}], 'outputs': True})
        for one in goldens.inputs['images']
    ]
    right, failed, stop = [0], [], threading.Event()

    def client(at):
        while not stop.is_set():
            at = (at + 1) % len(bodies)
            try:
                status, body = cluster.ask('/v1/predict', bodies[at])
            except OSError as error:
                failed.append(repr(error))
                continue
            if status != 200:
                failed.append((status, body[:200]))
                continue
            (row,) = json.loads(body)['predictions']
            np.testing.assert_allclose(row['outputs'], goldens.outputs[at], atol=1e-5)
            right[0] += 1

    with Cluster(images.bundle, tmp_path) as cluster:
        cluster.until(lambda: len(cluster.replicas()) == 2)
        first = cluster.replicas()
        models = json.loads(cluster.ask('/v1/models')[1])['models']
        assert models[0]['class_names'] == ['ant', 'bee', 'cat']
        clients = [threading.Thread(target=client, args=(at,)) for at in range(4)]
        for one in clients:
            one.start()
        try:
            cluster.until(lambda: right[0] >= 40)
            assert failed == []
            os.kill(first[0], signal.SIGKILL)
            before = right[0]
            cluster.until(lambda: right[0] >= before + 20)  # the other one goes on
            cluster.until(lambda: len(set(cluster.replicas()) - {first[0]}) == 2)
        finally:
            stop.set()
            for one in clients:
                one.join()
        # What the killed one had in hand may be lost: at most a request of each client.
        assert len(failed) <= len(clients), failed
        assert cluster.ask('/v1/predict', b'{')[0] == 422
        cluster.process.terminate()
        assert cluster.process.wait(60) == 0
        assert cluster.replicas() == []
