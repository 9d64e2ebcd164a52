"""The service that answers at the moment, and how another one takes its place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from ftjax.serving.server.service import Service

_LOOK = 0.005
"""Seconds between looks whether the last request of a service is answered."""


class LiveService:
    """Requests enter by `using`; `replace` lets those that are inside end on the old service."""

    def __init__(self, service: Service):
        self.service = service
        self._inside: dict[Service, int] = {service: 0}
        service.announce()

    @contextlib.contextmanager
    def using(self) -> Iterator[Service]:
        """The service that answers now; it is not closed before the end of the block."""
        service = self.service
        self._inside[service] += 1
        try:
            yield service
        finally:
            self._inside[service] -= 1

    async def replace(self, service: Service) -> None:
        """From now on another service answers, which is ready; the old one ends after its last.

        Both are of one event loop: no request can come between.
        """
        old = self.service
        self._inside[service] = 0
        self.service = service
        service.announce()
        while self._inside[old]:
            await asyncio.sleep(_LOOK)
        del self._inside[old]
        await old.close()
