"""uvicorn's server with an end that lets go of nobody: first no new connections, then the rest."""

from __future__ import annotations

import asyncio
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.server.bounded_protocol import bounded_protocol
from ftjax.serving.server.guard import Guard

PAUSE = 0.5
"""Seconds in which a client that is connected already may still send its request."""


def draining_server(app: Guard, **config: Any) -> Any:
    """A `uvicorn.Server`; at a signal it stops listening, answers what comes, and ends.

    uvicorn itself would cut connections on which no request has been read yet.

    Raises:
      UserError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise UserError("a server needs the package uvicorn: pip install 'ftjax[serve]'") from None

    class Draining(uvicorn.Server):
        async def shutdown(self, sockets: Any = None) -> None:
            app.draining = True  # each answer now says that its connection closes
            for server in self.servers:
                server.close()
            await asyncio.sleep(PAUSE)
            await super().shutdown(sockets)

    protocol = bounded_protocol(app.settings.timeout)
    return Draining(uvicorn.Config(app, http=protocol, **config))
