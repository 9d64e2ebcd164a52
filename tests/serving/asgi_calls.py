"""Requests to an ASGI application in this process: no socket, no further package."""

import asyncio
import contextlib
import json


async def call(app, path, body=b'', kind='application/json', method=None, headers=(), parts=()):
    """(status, headers, body) of one request; `parts` are sent one after the other."""
    chunks = list(parts) or [body]
    size = sum(map(len, chunks))
    given = [(b'host', b'testserver'), (b'content-type', kind.encode())]
    given += [(b'content-length', str(size).encode())] * (not parts)
    given += [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {
        'type': 'http',
        'asgi': {'version': '3.0'},
        'http_version': '1.1',
        'method': method or ('POST' if size else 'GET'),
        'scheme': 'http',
        'path': path,
        'raw_path': path.encode(),
        'query_string': b'',
        'root_path': '',
        'headers': given,
        'client': ('127.0.0.1', 1),
        'server': ('testserver', 80),
    }
    messages = [
        {'type': 'http.request', 'body': chunk, 'more_body': number < len(chunks) - 1}
        for number, chunk in enumerate(chunks)
    ]
    sent = []

    async def receive():
        if not messages:
            await asyncio.sleep(3600)
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    answer = {k.decode().lower(): v.decode() for k, v in start['headers']}
    return start['status'], answer, b''.join(message.get('body', b'') for message in rest)


async def post(app, value, **more):
    """(status, parsed answer) of a JSON request to /v1/predict."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    status, _, answer = await call(app, '/v1/predict', body, **more)
    return status, json.loads(answer)


@contextlib.asynccontextmanager
async def running(service):
    """A service that is ready, within."""
    service.start()
    while not service.ready:
        assert not service.failed, service.failed
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        await service.close()


@contextlib.asynccontextmanager
async def lifespan(app):
    """The application between its start and its end."""
    inbox, told = asyncio.Queue(), asyncio.Queue()
    scope = {'type': 'lifespan', 'asgi': {'version': '3.0'}, 'state': {}}
    task = asyncio.create_task(app(scope, inbox.get, told.put))
    await inbox.put({'type': 'lifespan.startup'})
    assert (await told.get())['type'] == 'lifespan.startup.complete'
    try:
        yield
    finally:
        await inbox.put({'type': 'lifespan.shutdown'})
        assert (await told.get())['type'] == 'lifespan.shutdown.complete'
        await task
