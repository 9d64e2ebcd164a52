"""Serves a bundle until a signal: accepted requests are answered before the process ends."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib

from ftjax.errors import UserError
from ftjax.serving.bundle.loaded_bundle import load
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
from ftjax.serving.server.draining_server import draining_server
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import LOOPBACK, ServerSettings
from ftjax.serving.server.service import Service

_log = logging.getLogger('ftjax.serving')


def serve(
    folder: str | os.PathLike[str],
    settings: ServerSettings,
    sha256: str | None = None,
    *,
    monitor: str | None = None,
    window_hours: float = 168.0,
    keep_inputs: float = 0.0,
) -> None:
    """Verifies a bundle and serves it; returns after SIGTERM or SIGINT, when all is answered.

    Args:
      folder: of the bundle.
      settings: of the server.
      sha256: of its bundle.json, if it has to be a certain one.
      monitor: folder for sketches of the traffic; None keeps none.
      window_hours: of one of them.
      keep_inputs: share of the inputs that is kept in the folder; 0 keeps none.

    Raises:
      UserError: the bundle is refused, the address is taken, packages are missing.
    """
    # Goldens run when the programs are compiled, and /readyz waits for them.
    bundle = load(folder, sha256=sha256, goldens=False)
    if keep_inputs and monitor is None:
        raise UserError('keep_inputs needs --monitor=DIR: inputs are kept in its folder')
    traffic = None
    if monitor is not None:
        traffic = TrafficMonitor(
            bundle,
            read_reference(bundle.folder, bundle.signature),
            pathlib.Path(monitor),
            seconds=round(window_hours * 3600),
            keep_inputs=keep_inputs,
        )
    requests_as_they_are()
    server = draining_server(
        guarded_app(Service(bundle, settings, traffic)),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.timeout) + 5,
        limit_concurrency=4 * settings.queue,
    )
    if settings.host != LOOPBACK and not settings.token:
        _log.warning('%s is open to others, and no token is asked for', settings.host)
    _log.info('http://%s:%d serves %s', settings.host, settings.port, bundle.folder)
    # uvicorn ends the process where it cannot listen.
    with contextlib.suppress(KeyboardInterrupt):
        try:
            server.run()
        except SystemExit:
            raise UserError(
                f'cannot listen on {settings.host}:{settings.port}; is the port taken?'
            ) from None
    _log.info('stopped: every accepted request was answered')


def requests_as_they_are() -> None:
    """Lines of requests are JSON already: no level before them."""
    log = logging.getLogger('ftjax.serving.requests')
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter('%(message)s'))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
