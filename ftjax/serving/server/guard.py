"""Around every request: an id, the token, limits of size and time, one line of log, metrics.

Plain ASGI, so that a body is counted while it arrives and nothing is held that is too large. What
is logged is when, what, how long and how many bytes, never what was sent.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ftjax.printable import printable
from ftjax.serving.server.refusal import GONE, ClientGone, Refusal
from ftjax.serving.server.server_metrics import ServerMetrics
from ftjax.serving.server.server_settings import ServerSettings

_log = logging.getLogger('ftjax.serving.requests')
_ID = re.compile(r'[A-Za-z0-9._-]{1,64}')
PATHS = ('/', '/v1/predict', '/v1/models', '/healthz', '/readyz', '/metrics', '/docs')
"""Those that metrics name; all others are one."""
OPEN = ('/', '/healthz', '/readyz')
"""What needs no token: nothing there says anything of the data."""
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: Any, settings: ServerSettings, metrics: ServerMetrics):
        self.app, self.settings, self.metrics = app, settings, metrics
        self.draining = False
        """Whether the server is about to end."""
        self.held = 0
        """Bytes of requests that are not answered yet."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        headers = {k.decode('latin-1').lower(): v.decode('latin-1') for k, v in scope['headers']}
        given = headers.get('x-request-id', '')
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        began, told = time.perf_counter(), {'status': 0, 'bytes': 0}
        scope.setdefault('state', {}).update(request_id=request_id, began=began)

        async def sending(message: Message) -> None:
            if message['type'] == 'http.response.start':
                told['status'] = message['status']
                own = [(b'x-request-id', request_id.encode())]
                own += [(b'connection', b'close')] * self.draining
                message = {**message, 'headers': [*message.get('headers', ()), *own]}
            await send(message)

        try:
            self._check(scope['path'], headers)
            await self.app(scope, self._counted(receive, told, began), sending)
        except Refusal as refusal:
            await respond(refusal, request_id, sending, told['status'])
        except ClientGone:
            told['status'] = GONE
        except Exception as error:  # a fault of ours: said to the log, not to the client
            _log.exception('%s', json.dumps({'request_id': request_id, 'event': 'fault'}))
            refusal = Refusal(500, f'a fault in the server ({type(error).__name__})')
            await respond(refusal, request_id, sending, told['status'])
        finally:
            self.held -= told['bytes']
            self._note(scope, request_id, told, time.perf_counter() - began)

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        token = self.settings.token
        if token and path not in OPEN:
            scheme, _, given = headers.get('authorization', '').partition(' ')
            same = hmac.compare_digest(given.strip().encode('latin-1'), token.encode())
            if scheme.lower() != 'bearer' or not same:
                raise Refusal(401, 'expected Authorization: Bearer TOKEN')
        if headers.get('content-encoding', 'identity').lower() != 'identity':
            raise Refusal(415, 'a packed body is not taken: it may unpack to anything')
        length = headers.get('content-length', '0')
        if length.isdecimal() and int(length[:20]) > self.settings.max_bytes:
            raise self._too_large()

    def _counted(self, receive: Receive, told: dict[str, int], began: float) -> Receive:
        async def counted() -> Message:
            left = self.settings.timeout - (time.perf_counter() - began)
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise Refusal(408, 'the request did not arrive in time') from None
            if message['type'] == 'http.disconnect':
                raise ClientGone
            size = len(message.get('body', b''))
            told['bytes'] += size
            self.held += size
            if told['bytes'] > self.settings.max_bytes:
                raise self._too_large()
            if self.held > self.settings.max_held:
                raise Refusal(429, 'the server holds many large requests; try again in a second')
            return message

        return counted

    def _too_large(self) -> Refusal:
        return Refusal(413, f'the request has more than {self.settings.max_bytes:,} bytes')

    def _note(self, scope: Any, request_id: str, told: dict[str, int], seconds: float) -> None:
        path = scope['path'] if scope['path'] in PATHS else 'other'
        self.metrics.requests.labels(path, str(told['status'])).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        row = {
            'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'request_id': request_id,
            'method': printable(scope['method'])[:16],
            'path': path,
            'status': told['status'],
            'ms': round(1000 * seconds, 3),
            'bytes': told['bytes'],
            'inputs': scope['state'].get('inputs', 0),
        }
        level = logging.INFO if told['status'] < 500 else logging.ERROR
        _log.log(level, '%s', json.dumps(row))


async def respond(refusal: Refusal, request_id: str, send: Send, status: int) -> None:
    """Sends a refusal, unless a response has begun already."""
    if status:
        return
    body = json.dumps(refusal.body(request_id)).encode()
    headers = [
        (b'content-type', b'application/json'),
        (b'content-length', str(len(body)).encode()),
        *extra_headers(refusal),
    ]
    await send({'type': 'http.response.start', 'status': refusal.status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


def extra_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """What a status asks for beside the body."""
    if refusal.status == 401:
        return [(b'www-authenticate', b'Bearer')]
    if refusal.status in (429, 503):
        return [(b'retry-after', b'1')]
    if refusal.status in (408, 413):
        return [(b'connection', b'close')]  # what is left of the body is not read
    return []
