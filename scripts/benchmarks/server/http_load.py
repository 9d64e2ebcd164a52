"""Many clients of one server on the loopback, in one thread that does as little as it can.

Clients share the processors with the server: what a client costs is taken from what is measured.
So requests are made before, answers are read after, and one loop waits for all connections.
"""

from __future__ import annotations

import dataclasses
import selectors
import socket
import time
from collections.abc import Sequence

TIMEOUT = 30.0
"""Seconds without any answer before a load gives up."""


@dataclasses.dataclass
class Answered:
    """What came of one load."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    times: list[float] = dataclasses.field(default_factory=list)
    """Seconds from a request to its answer."""
    came: list[float] = dataclasses.field(default_factory=list)
    """When each answer came, by time.perf_counter."""
    bodies: list[tuple[int, int, bytes]] = dataclasses.field(default_factory=list)
    """(which request, status, body) of each answer."""
    cut: int = 0
    """Connections that the server closed before an answer that was due."""


class _Client:
    """One connection, with one request on its way."""

    def __init__(self, port: int, at: int):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at, self.had, self.sent = at, b'', 0.0

    def send(self, request: bytes) -> None:
        self.had, self.sent = b'', time.perf_counter()
        self.socket.sendall(request)

    def answer(self) -> tuple[int, bytes] | None:
        """(status, body), once all of it is here; ConnectionError where the server hung up."""
        part = self.socket.recv(2**16)
        if not part:
            raise ConnectionError
        self.had += part
        head, found, body = self.had.partition(b'\r\n\r\n')
        if not found:
            return None
        start = head.lower().index(b'content-length:') + 15
        if len(body) < int(head[start:].split(b'\r\n', 1)[0]):
            return None
        return int(head[9:12]), body


def post(body: bytes, kind: str) -> bytes:
    """A request to /v1/predict as it goes over the wire."""
    head = f'POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n'
    return f'{head}Content-Length: {len(body)}\r\n\r\n'.encode() + body


def load(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Answered:
    """Sends requests one after the other from each client until the time is over.

    Args:
      port: of the server, on 127.0.0.1.
      requests: as `post` makes them; every client goes through them in turn.
      clients: connections at once, kept open.
      seconds: after which no client begins another request.
    """
    told, waiting = Answered(), selectors.DefaultSelector()
    began = time.perf_counter()
    for number in range(clients):
        client = _Client(port, number % len(requests))
        waiting.register(client.socket, selectors.EVENT_READ, client)
        client.send(requests[client.at])
    while waiting.get_map():
        ready = waiting.select(TIMEOUT)
        if not ready:
            told.cut += len(waiting.get_map())
            break
        for key, _ in ready:
            client = key.data
            try:
                answer = client.answer()
                if answer is None:
                    continue
                now = time.perf_counter()
                told.times.append(now - client.sent)
                told.came.append(now)
                told.bodies.append((client.at, *answer))
                if now - began < seconds:
                    client.at = (client.at + 1) % len(requests)
                    client.send(requests[client.at])
                    continue
            except (ConnectionError, TimeoutError):
                told.cut += 1
            waiting.unregister(client.socket)
            client.socket.close()
    told.seconds = time.perf_counter() - began
    waiting.close()
    return told
