"""Heads without end, clients that send nothing, broken requests: over a socket, quickly ended."""

import asyncio
import contextlib
import importlib.util
import time

import pytest

from ftjax.serving.server.bounded_protocol import LARGEST_HEAD, bounded_protocol

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('uvicorn', 'httptools')),
    reason='needs the extra serve',
)
GOOD = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n' + b'b' * 200_000


async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get('body', b'')), message.get('more_body', False)
    body = str(size).encode()
    head = [(b'content-length', str(len(body)).encode())]
    await send({'type': 'http.response.start', 'status': 200, 'headers': head})
    await send({'type': 'http.response.body', 'body': body})


def with_server(work, seconds=5.0, served=app):
    """Runs `work(connect)` beside a server."""
    import uvicorn

    async def whole():
        config = uvicorn.Config(
            served, port=0, http=bounded_protocol(seconds), log_config=None, lifespan='off'
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            return await work(lambda: asyncio.open_connection('127.0.0.1', port))
        finally:
            server.should_exit = True
            await running

    return asyncio.run(whole())


async def sent(connect, *parts):
    """All that comes back for bytes that are sent one part after the other, until it is closed."""
    reader, writer = await connect()
    got = asyncio.create_task(reader.read())
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.001)
    except ConnectionError:
        pass
    try:
        return await asyncio.wait_for(got, 10)
    except ConnectionError:
        return b''
    finally:
        writer.close()


def endless():
    """What has no end before, after or within a body, in parts of 16 KiB."""
    filler = b'x' * 2**14
    chunked = b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    yield 'a header', [b'GET / HTTP/1.1\r\na: ', *[filler] * 64]
    yield 'many headers', [b'GET / HTTP/1.1\r\n', *[b'a: b\r\n' * 3000] * 64]
    yield 'a path', [b'GET /', *[filler] * 64]
    yield 'a chunk extension', [chunked, b'1;a=', *[filler] * 64]
    yield 'trailers', [chunked, b'1\r\nb\r\n0\r\n', *[b'a: b\r\n' * 3000] * 64]


@pytest.mark.parametrize('what, parts', [pytest.param(w, p, id=w) for w, p in endless()])
def test_what_has_no_end_is_refused_and_the_next_is_answered(what, parts):
    async def work(connect):
        answer = await sent(connect, *parts)
        closing = GOOD.replace(b'Host: x', b'Host: x\r\nConnection: close')
        return answer, await sent(connect, closing)

    answer, good = with_server(work)
    assert answer == b'' or answer.startswith(b'HTTP/1.1 400'), answer[:100]
    assert sum(map(len, parts)) > 10 * LARGEST_HEAD
    assert good.startswith(b'HTTP/1.1 200') and good.endswith(b'200000')


@pytest.mark.parametrize('first', [b'', b'GET / HTTP/1.1\r\nHost'])
def test_a_client_that_sends_no_head_is_cut_off(first):
    async def work(connect):
        began = time.monotonic()
        answer = await sent(connect, first)
        return answer, time.monotonic() - began

    answer, seconds = with_server(work, seconds=0.3)
    assert answer == b''
    assert 0.25 < seconds < 3


def test_a_second_request_of_a_connection_has_its_own_time():
    async def work(connect):
        reader, writer = await connect()
        for _ in range(3):  # longer together than the time of one
            writer.write(GOOD)
            assert (await reader.readuntil(b'200000')).startswith(b'HTTP/1.1 200')
            await asyncio.sleep(0.2)
        writer.write(b'GET ')
        began = time.monotonic()
        rest = await reader.read()
        writer.close()
        return rest, time.monotonic() - began

    rest, seconds = with_server(work, seconds=0.4)
    assert rest == b''
    assert 0.3 < seconds < 3


def test_what_is_no_http_is_refused():
    async def work(connect):
        return await sent(connect, b'\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03' * 10)

    assert with_server(work).startswith(b'HTTP/1.1 400')


async def large(scope, receive, send):
    """Answers with 16 MB: more than the system takes for a client that reads nothing."""
    if scope['type'] != 'http':
        return
    body = bytes(2**24)
    head = [(b'content-length', str(len(body)).encode())]
    await send({'type': 'http.response.start', 'status': 200, 'headers': head})
    await send({'type': 'http.response.body', 'body': body})


def test_a_client_that_reads_no_answer_is_cut_off_and_a_slow_one_is_not():
    async def silent(connect):
        reader, writer = await connect()
        writer.transport.pause_reading()
        writer.write(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        await asyncio.sleep(1)
        writer.transport.resume_reading()
        with contextlib.suppress(ConnectionError):
            got = len(await asyncio.wait_for(reader.read(), 10))
            assert got < 2**24

    async def slow(connect):
        reader, writer = await connect()
        writer.write(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        got = 0
        while part := await reader.read(2**20):
            got += len(part)
            await asyncio.sleep(0.01)
        return got

    with_server(silent, seconds=0.3, served=large)
    assert with_server(slow, seconds=0.3, served=large) > 2**24
