"""Servers as processes of their own, on free ports of the loopback."""

from __future__ import annotations

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
READY = 300.0
"""Seconds that a server may take to become ready."""


class Server:
    """A command that serves HTTP on `port`; ends when the block ends."""

    def __init__(self, *words: str):
        """`words` follow the interpreter; {port} stands for the port."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.words = [word.format(port=self.port) for word in words]
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *self.words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, 'HF_HUB_OFFLINE': '1'},
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> float:
        """Until /readyz answers 200; seconds that it took. UserError if the process ends."""
        from ftjax.errors import UserError

        began = time.monotonic()
        while time.monotonic() - began < READY and self.process.poll() is None:
            try:
                if self.get('/readyz')[0] == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.05)
        raise UserError(f'{" ".join(self.words)} did not become ready')

    def get(self, path: str, body: bytes | None = None, kind: str = '') -> tuple[int, bytes]:
        """(status, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        try:
            method = 'GET' if body is None else 'POST'
            connection.request(method, path, body, {'Content-Type': kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def again(self) -> float:
        """Starts the same command on the same port; seconds until it is ready."""
        self.process.wait()
        self.process = self._started()
        return self.wait()

    def stop(self) -> int:
        """By SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ours(bundle: pathlib.Path, *more: str) -> Server:
    """scripts/serve.py."""
    script = str(HERE.parents[1] / 'serve.py')
    return Server(script, f'--bundle={bundle}', '--port={port}', *more)


def serving_version(registry: str, reference: str) -> Server:
    """scripts/serve.py, which follows what is promoted."""
    script, flags = str(HERE.parents[1] / 'serve.py'), ['--port={port}', '--poll_seconds=0.2']
    return Server(script, f'--registry={registry}', f'--model={reference}', *flags)


def torch_eager(folder: pathlib.Path, threads: int) -> Server:
    """FastAPI and PyTorch in eager mode on what --format=hf wrote."""
    return Server(str(HERE / 'torch_server.py'), str(folder), '{port}', str(threads))
