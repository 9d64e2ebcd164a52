"""uvicorn's HTTP protocol on httptools, with bounds on what comes before the body of a request.

The parser in C reads requests several times faster than the one in Python, and has no bounds of its
own: a head without end would fill the memory, and a client that sends none would hold its
connection for ever. Bodies are counted by `guard.Guard`. A client that does not read its answer is
cut off too: uvicorn would wait for it for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ftjax.errors import UserError

LARGEST_HEAD = 2**16
"""Bytes that may come without a byte of a body among them: a head, or what follows a body."""
LEAST_READ = 2**14
"""Bytes of an answer that a client has to take in the time that a head may take."""


def bounded_protocol(seconds: float) -> Any:
    """A protocol class for uvicorn; a head has to be complete within so many seconds.

    An answer that waits to be read has to move on in the same time.

    Raises:
      UserError: uvicorn or httptools is not installed.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError as error:
        raise UserError(
            f"a server needs the package {error.name}: pip install 'ftjax[serve]'"
        ) from None

    class Bounded(HttpToolsProtocol):
        _without_body = 0
        _deadline: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_came()
            self._read_again()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._expect_head()  # the next request of a connection that was kept
            self._without_body += len(data)
            super().data_received(data)
            if self._without_body > LARGEST_HEAD and not self.transport.is_closing():
                self.send_400_response(f'The head has more than {LARGEST_HEAD} bytes.')

        def on_message_begin(self) -> None:
            self._without_body = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._head_came()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._without_body = 0
            super().on_body(body)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect_reading()

        def resume_writing(self) -> None:
            self._read_again()
            super().resume_writing()

        def _expect_reading(self) -> None:
            waiting = self.transport.get_write_buffer_size()
            self._reading = self.loop.call_later(seconds, self._check_reading, waiting)

        def _check_reading(self, before: int) -> None:
            if before - self.transport.get_write_buffer_size() < LEAST_READ:
                self.transport.abort()  # `close` would wait until all is read
            else:
                self._expect_reading()

        def _read_again(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
            self._reading = None

        def _expect_head(self) -> None:
            self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _head_came(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = None

    return Bounded
