"""scripts/serve.py as a process: many clients at once, SIGTERM under load, kill -9 and restart."""

import base64
import http.client
import importlib.util
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from altered_bundle import altered

from ftjax import serving
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.goldens import read_goldens

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec('uvicorn'), reason='needs the extra serve'),
]


class Server:
    """A server of a bundle, or of what flags name, on a free port of the loopback."""

    def __init__(self, bundle, *flags):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, str(ROOT / 'scripts' / 'serve.py')]
        command += [f'--bundle={bundle}'] * (bundle is not None)
        self.process = subprocess.Popen(
            [*command, f'--port={self.port}', '--batch_sizes=1,8', *flags],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.reader = threading.Thread(
            target=lambda: self.lines.extend(self.process.stderr), daemon=True
        )
        self.reader.start()

    def __enter__(self):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if self.get('/readyz')[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                raise AssertionError('\n'.join(self.lines))
            time.sleep(0.05)
        raise AssertionError('never ready')

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def get(self, path, body=None, timeout=60):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        try:
            method = 'GET' if body is None else 'POST'
            given = None if body is None else json.dumps(body)
            connection.request(method, path, given, {'Content-Type': 'application/json'})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def requests(self):
        return [json.loads(line) for line in self.lines if line.startswith('{')]

    def predict(self, pixels):
        inputs = [{'pixels': one[..., 0].tolist()} for one in pixels]
        status, body = self.get('/v1/predict', {'inputs': inputs, 'outputs': True})
        return status, json.loads(body)


def test_64_clients_get_no_wrong_answer_and_bad_requests_hurt_nobody(images):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 8, 8, 1), np.uint8)
    bundle = serving.load(images.bundle, goldens=False)
    outputs = bundle.run({'images': pixels}).outputs
    rows = answer_rows(outputs, bundle.signature)
    wrong = []

    def client(at):
        for _ in range(4):
            status, answer = server.predict(pixels[at : at + 1])
            if status != 200:
                wrong.append((at, answer))
                continue
            (row,) = answer['predictions']
            if row['predicted'] != rows[at]['predicted'] or not np.allclose(
                row['outputs'], outputs[at], atol=1e-5
            ):
                wrong.append((at, answer))
            server.get('/v1/predict', {'inputs': [{'image': base64.b64encode(b'no').decode()}]})

    with Server(images.bundle) as server:
        clients = [threading.Thread(target=client, args=(at,)) for at in range(64)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        assert wrong == []
        text = server.get('/metrics')[1].decode()
        assert 'ftjax_requests_total{path="/v1/predict",status="200"} 256.0' in text
        assert 'ftjax_requests_total{path="/v1/predict",status="422"} 256.0' in text


def test_sigterm_under_load_loses_no_accepted_request(images):
    goldens = read_goldens(images.bundle)
    pixels, results, refused = goldens.inputs['images'], [], []
    stop = threading.Event()

    def client():
        while not stop.is_set():
            try:
                status, answer = server.predict(pixels[:2])
            except ConnectionError:  # it was never read: a client goes elsewhere
                refused.append(1)
                return
            results.append((status, answer))

    with Server(images.bundle, '--latency_ms=50') as server:
        clients = [threading.Thread(target=client) for _ in range(16)]
        for one in clients:
            one.start()
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        for one in clients:
            one.join(30)
        stop.set()
        assert server.process.wait(30) == 0
        server.reader.join(10)
    assert len(refused) == 16
    assert {status for status, _ in results} == {200}
    served = [line for line in server.requests() if line['path'] == '/v1/predict']
    assert len(served) == len(results) >= 16
    assert any('every accepted request was answered' in line for line in server.lines)


def test_the_commands_of_the_registry_under_load_lose_no_request(images, tmp_path):
    """As scripts/deploy/README.md says: publish, promote, serve, publish, promote, roll back."""
    second = altered(images.bundle, tmp_path / 'second', 1, by=1.0)
    pixels, results, stop = read_goldens(images.bundle).inputs['images'], [], threading.Event()

    def registry(*words, reason=''):
        command = [sys.executable, str(ROOT / 'scripts' / 'registry.py'), *words]
        done = subprocess.run(
            [*command, f'--registry={tmp_path / "reg"}', *([f'--reason={reason}'] * bool(reason))],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client():
        while not stop.is_set():
            results.append(server.predict(pixels[:2]))

    assert 'noise@1 is published' in registry('publish', str(images.bundle), '--name=noise')
    registry('promote', 'noise@1', 'production', reason='first')
    flags = ['--model=noise@production', f'--registry={tmp_path / "reg"}', '--poll_seconds=0.2']
    with Server(None, *flags) as server:
        clients = [threading.Thread(target=client) for _ in range(8)]
        for one in clients:
            one.start()
        registry('publish', str(second), '--name=noise', '--note=favours bees')
        registry('promote', 'noise@latest', 'production', reason='bees')
        until(server, '2')
        assert 'noise@1 is in production again' in registry(
            'rollback', 'noise', 'production', reason='too many bees'
        )
        until(server, '1')
        stop.set()
        for one in clients:
            one.join(60)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        server.reader.join(10)
    assert {status for status, _ in results} == {200}
    served = [line for line in server.requests() if line['path'] == '/v1/predict']
    assert len(served) == len(results)
    expected = {
        str(number): serving.load(bundle, goldens=False).run({'images': pixels[:2]}).outputs
        for number, bundle in enumerate((images.bundle, second), 1)
    }
    seen = set()
    for _, answer in results:
        version = answer['model']['version']
        outputs = [row['outputs'] for row in answer['predictions']]
        np.testing.assert_allclose(outputs, expected[version], atol=1e-5)
        seen.add(version)
    assert seen == {'1', '2'}
    told = registry('list', 'noise')
    assert 'too many bees' in told and 'favours bees' in told
    page = tmp_path / 'diff.html'
    text = registry('diff', 'noise@1', 'noise@2', f'--output={page}')
    assert 'bee' in text and page.read_text().startswith('<!doctype html>')


def until(server, version):
    """Waits for a version to be the one that answers."""
    for _ in range(600):
        models = json.loads(server.get('/v1/models')[1])['models']
        if models[0]['version'] == version:
            return
        time.sleep(0.1)
    raise AssertionError(server.lines[-20:])


def test_a_killed_server_starts_again_and_a_taken_port_is_one_line(images):
    with Server(images.bundle) as first:
        pixels = read_goldens(images.bundle).inputs['images'][:1]
        _, before = first.predict(pixels)
        command = [sys.executable, str(ROOT / 'scripts' / 'serve.py')]
        done = subprocess.run(
            [*command, f'--bundle={images.bundle}', f'--port={first.port}'],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith('error: cannot listen on 127.0.0.1:')
        first.process.send_signal(signal.SIGKILL)
    with Server(images.bundle) as second:
        _, after = second.predict(pixels)
        assert after['predictions'] == before['predictions']
    second.reader.join(10)
    assert [line['inputs'] for line in second.requests() if line['path'] == '/v1/predict'] == [1]


def test_bad_flags_are_one_line(images, tmp_path):
    command = [sys.executable, str(ROOT / 'scripts' / 'serve.py')]
    for flags, said in (
        ([f'--bundle={tmp_path}'], 'is no bundle'),
        ([], 'expected either --bundle'),
        (['--model=noise@1'], 'needs --registry'),
        (['--model=noise', f'--registry={tmp_path}'], 'expected NAME@3'),
        (['--model=noise@1', f'--registry={tmp_path}'], "holds no model 'noise'"),
        ([f'--bundle={images.bundle}', '--batch_sizes=8,1'], 'ascending'),
        ([f'--bundle={images.bundle}', '--batch_sizes=a'], 'expected numbers'),
        ([f'--bundle={images.bundle}', '--sha256=00'], 'not the one asked for'),
        ([f'--bundle={images.bundle}', '--token_file=nowhere'], 'no token can be read'),
    ):
        done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=120)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert said in done.stderr


def test_the_load_test_measures_all_sides_and_finds_no_wrong_answer(images, tmp_path):
    words = ['serving', f'bundle={images.bundle}', 'seconds=0.3', 'rounds=1', 'clients=(1,4)']
    done = subprocess.run(
        [sys.executable, str(ROOT / 'scripts' / 'benchmark.py'), *words, f'--out={tmp_path}'],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / 'serving.json').read_text())
    assert len(told['load']) == 2 + 2 * 2
    for row in told['load']:
        assert row['wrong'] == 0
        assert row['requests'] > 0
        assert 0 < row['p50_ms'] <= row['p95_ms'] <= row['p99_ms']
    assert [row['what'] for row in told['held']] == [
        '64 clients at once',
        'poisoned requests',
        'kill -9, restart',
        'SIGTERM under load',
    ]
    assert [row['wrong'] for row in told['held']] == [0] * 4
    (swap,) = told['swaps']
    assert (swap['wrong'], swap['clients']) == (0, 4)
    for part in ('steady', 'swap', 'after'):
        assert swap[part]['requests'] > 0
        assert 0 < swap[part]['p50_ms'] <= swap[part]['p99_ms'] <= swap[part]['longest_ms']
    assert 0 < swap['swap_seconds'] < 6
    assert 'A promotion under 4 clients' in (tmp_path / 'serving.md').read_text()
    assert (tmp_path / 'serving.png').exists()
