"""Serves a bundle until a signal: accepted requests are answered before the process ends."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pathlib

from ftjax.errors import UserError
from ftjax.serving.bundle.loaded_bundle import Bundle, load
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
from ftjax.serving.server.draining_server import draining_server
from ftjax.serving.server.follower import Follower, Monitor, service_of
from ftjax.serving.server.guard import Guard
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import LOOPBACK, ServerSettings
from ftjax.serving.server.service import Service
from ftjax.serving.versions.registry import Registry
from ftjax.serving.versions.version_names import parse_reference

_log = logging.getLogger('ftjax.serving')


def serve(
    folder: str | os.PathLike[str],
    settings: ServerSettings,
    sha256: str | None = None,
    *,
    monitor: Monitor | None = None,
) -> None:
    """Verifies a bundle and serves it; returns after SIGTERM or SIGINT, when all is answered.

    Args:
      folder: of the bundle.
      settings: of the server.
      sha256: of its bundle.json, if it has to be a certain one.
      monitor: see `monitor_in`; None keeps no sketches of the traffic.

    Raises:
      UserError: the bundle is refused, the address is taken, packages are missing.
    """
    # Goldens run when the programs are compiled, and /readyz waits for them.
    bundle = load(folder, sha256=sha256, goldens=False)
    service = Service(bundle, settings, None if monitor is None else monitor(bundle))
    _serve(guarded_app(service), settings, str(service.bundle.folder))


def serve_version(
    url: str,
    reference: str,
    settings: ServerSettings,
    every: float,
    monitor: Monitor | None = None,
) -> None:
    """Serves a version of a registry, and what takes its place; see `serve`.

    Args:
      url: of the registry.
      reference: `NAME@production` and so on; `NAME@3` is served as it is.
      settings: of the server.
      every: seconds between looks at the registry.
      monitor: see `monitor_in`.

    Raises:
      UserError: no such version, or it is damaged, and as of `serve`.
    """
    if not 0.1 <= every <= 86_400:
        raise UserError(f'{every:g} seconds between looks; expected 0.1 to 86400')
    registry, asked = Registry(url), parse_reference(reference)
    version = registry.resolve(asked)
    service = service_of(registry, version, settings, monitor=monitor)
    follower = Follower(registry, asked, version, every, monitor)
    _serve(guarded_app(service, follower), settings, f'{version}, which is {asked} of {url}')


def monitor_in(folder: str | None, window_hours: float, keep_inputs: float) -> Monitor | None:
    """What opens the monitor of a bundle that is served; None where no folder is named.

    Args:
      folder: for sketches of the traffic; each names its bundle.
      window_hours: of one of them.
      keep_inputs: share of the inputs that is kept in the folder; 0 keeps none.
    """
    if folder is None:
        if keep_inputs:
            raise UserError('keep_inputs needs --monitor=DIR: inputs are kept in its folder')
        return None
    if not math.isfinite(window_hours):
        raise UserError(f'a window of {window_hours:g} hours; expected a number')
    place, seconds = pathlib.Path(folder), round(window_hours * 3600)

    def opened(bundle: Bundle) -> TrafficMonitor:
        reference = read_reference(bundle.folder, bundle.signature)
        return TrafficMonitor(bundle, reference, place, seconds=seconds, keep_inputs=keep_inputs)

    return opened


def _serve(app: Guard, settings: ServerSettings, what: str) -> None:
    requests_as_they_are()
    server = draining_server(
        app,
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
    _log.info('http://%s:%d serves %s', settings.host, settings.port, what)
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
