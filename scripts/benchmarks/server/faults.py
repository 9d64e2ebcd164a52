"""What a server must survive, counted: many clients, signals under load, poisoned requests."""

from __future__ import annotations

import io
import pathlib
import signal
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from typing import Any

from benchmarks.server.http_load import load, post
from benchmarks.server.networks import wrong_answers
from benchmarks.server.processes import ours

CLIENTS = 64


def faults(
    bundle: pathlib.Path, requests: Sequence[tuple[bytes, str]], expected: Any, takes: str
) -> list[dict[str, Any]]:
    """Rows of {what, requests, wrong, told}; `wrong` is 0 where all held."""
    wire = [post(*each) for each in requests]
    with ours(bundle) as server:
        server.wait()
        return [
            _many(server, wire, expected),
            _poisoned(server, requests[0], takes),
            _killed(server, wire, expected),
            _ended(server, wire, expected),
        ]


def _row(what: str, count: int, wrong: int, told: str) -> dict[str, Any]:
    return {'what': what, 'requests': count, 'wrong': wrong, 'told': told}


def _many(server: Any, wire: Sequence[bytes], expected: Any) -> dict[str, Any]:
    found = load(server.port, wire, CLIENTS, 3.0)
    wrong = wrong_answers(found, expected) + found.cut
    late = sum(status != 200 for _, status, _ in found.bodies)
    told = f'probabilities to 1e-5; {late} of the wrong had no answer in time'
    return _row(f'{CLIENTS} clients at once', len(found.bodies), wrong, told)


def _poisoned(server: Any, good: tuple[bytes, str], takes: str) -> dict[str, Any]:
    wrong, statuses = 0, []
    for body, kind in poison(takes):
        try:
            status, _ = server.get('/v1/predict', body, kind)
        except ConnectionError:  # told before all was sent
            status = 413
        again, _ = server.get('/v1/predict', *good)
        statuses.append(status)
        wrong += not (400 <= status < 500 and again == 200)
    told = 'each answered ' + ', '.join(map(str, sorted(set(statuses)))) + '; the next one 200'
    return _row('poisoned requests', len(statuses), wrong, told)


def _signalled(server: Any, wire: Sequence[bytes], what: int) -> Any:
    """The answers to a load in the middle of which a signal comes."""
    timer = threading.Timer(1.5, server.process.send_signal, [what])
    timer.start()
    try:
        return load(server.port, wire, 16, 3.0)
    finally:
        timer.join()


def _killed(server: Any, wire: Sequence[bytes], expected: Any) -> dict[str, Any]:
    before = _signalled(server, wire, signal.SIGKILL)
    seconds = server.again()
    after = load(server.port, wire, 16, 1.0)
    wrong = wrong_answers(before, expected) + wrong_answers(after, expected) + after.cut
    told = f'{before.cut} in flight were cut; ready again after {seconds:.1f} s'
    return _row('kill -9, restart', len(before.bodies) + len(after.bodies), wrong, told)


def _ended(server: Any, wire: Sequence[bytes], expected: Any) -> dict[str, Any]:
    """After SIGTERM each client is told to close, and not one loses a request that was sent."""
    found = _signalled(server, wire, signal.SIGTERM)
    began = time.monotonic()
    code = server.process.wait(60)
    # A client that sends on a connection that its answer said to close is cut: not a loss.
    told = f'exit code {code}, {time.monotonic() - began:.1f} s after the last answer'
    wrong = wrong_answers(found, expected) + (code != 0)
    return _row('SIGTERM under load', len(found.bodies), wrong, told)


def poison(takes: str) -> list[tuple[bytes, str]]:
    """(body, content type) of requests that mean harm, or are broken."""
    plain = 'application/json'
    rows = [
        (b'{', plain),
        (b'[' * 100_000, plain),
        (b'{"inputs": [NaN]}', plain),
        (b'{"inputs": [{"pixels": [[NaN]]}]}', plain),
        (b'{"inputs": [[[1, 2], [3]]]}', plain),
        (b'{"inputs": ["' + b'a' * 10_000_000 + b'"]}', plain),
        (b'{"inputs": ' + b'[' + b'1,' * 200_000 + b'1]}', plain),
        (b'\x80\x04.', 'application/x-pickle'),
        (b'no image', 'image/png'),
        (_huge_png(), 'image/png'),
    ]
    if takes == 'images':
        rows += [(b'PK\x03\x04' + bytes(1000), 'image/png'), (_cut_png(), 'image/png')]
    return rows


def _huge_png() -> bytes:
    """A hundred thousand pixels a side in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack('>I', len(data)) + whole + struct.pack('>I', zlib.crc32(whole))

    head = struct.pack('>IIBBBBB', 100_000, 100_000, 8, 0, 0, 0, 0)
    data = chunk(b'IDAT', zlib.compress(bytes(1_000_000), 9))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + data + chunk(b'IEND', b'')


def _cut_png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, 'png')
    return file.getvalue()[:200]
