"""Follows promotions: a new version is compiled beside the old one, proved, and takes its place.

While that goes on the old version answers. A version that is damaged, gives other outputs than its
goldens, or takes other inputs than the one before is refused: that is logged and counted, and the
old version stays. So it does while the registry does not answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.loaded_bundle import Bundle, load
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
from ftjax.serving.server.live_service import LiveService
from ftjax.serving.server.server_metrics import ServerMetrics
from ftjax.serving.server.server_settings import ServerSettings
from ftjax.serving.server.service import Service
from ftjax.serving.versions.registry import Registry, Unreachable
from ftjax.serving.versions.version_names import STAGES, Reference
from ftjax.serving.versions.version_records import Version

Monitor = Callable[[Bundle], TrafficMonitor]
RETRY = 300.0
"""Seconds after which a refused version is tried again: it may have been mended."""
_log = logging.getLogger('ftjax.serving')


def service_of(
    registry: Registry,
    version: Version,
    settings: ServerSettings,
    metrics: ServerMetrics | None = None,
    monitor: Monitor | None = None,
) -> Service:
    """A service of a version, not yet compiled; every hash is checked.

    Raises:
      UserError: the version is damaged, or this JAX cannot read it.
    """
    folder = registry.open(version)
    bundle = load(folder, sha256=version.sha256, goldens=False)
    traffic = None if monitor is None else monitor(bundle)
    named = {'name': version.name, 'version': str(version.number)}
    return Service(bundle, settings, traffic, metrics=metrics, **named)


class Follower:
    """Looks at a registry every few seconds; see `run`."""

    def __init__(
        self,
        registry: Registry,
        reference: Reference,
        version: Version,
        every: float,
        monitor: Monitor | None = None,
    ):
        """A follower that has not looked yet.

        Args:
          registry: that is looked at.
          reference: that is followed.
          version: what it is at the start.
          every: seconds between two looks.
          monitor: opens what keeps sketches of the traffic of a bundle.
        """
        self.registry, self.reference, self.every = registry, reference, every
        self.version, self.monitor = version, monitor
        self.told: list[dict[str, Any]] = []
        """What /v1/models says of all versions, the newest first."""
        self._seen: object = None
        self._published: dict[int, dict[str, Any]] = {}
        self._refused: tuple[str, float] = ('', 0.0)
        self._trouble = ''

    async def run(self, live: LiveService) -> None:
        """Looks for ever; ends when it is cancelled."""
        while True:
            await self.look(live)
            await asyncio.sleep(self.every)

    async def look(self, live: LiveService) -> None:
        """Looks once, and takes what is new."""
        try:
            version = await asyncio.to_thread(self._read)
        except Exception as error:  # whatever a file system raises: the old version goes on
            live.service.metrics.registry_errors.inc()
            if str(error) != self._trouble:  # once, not every few seconds
                _log.warning('%s stays: %s', self.version, error)
            self._trouble = str(error)
            return
        self._trouble = ''
        digest, until = self._refused
        again = version.sha256 == digest and time.monotonic() < until
        if version.sha256 != live.service.bundle.digest and not again:
            await self._take(version, live)

    async def _take(self, version: Version, live: LiveService) -> None:
        metrics, began, service = live.service.metrics, time.perf_counter(), None
        _log.info('%s is %s now: getting ready beside %s', self.reference, version, self.version)
        try:
            settings = live.service.settings
            service = await asyncio.to_thread(
                service_of, self.registry, version, settings, metrics, self.monitor
            )
            before, now = live.service.bundle, service.bundle
            await asyncio.to_thread(_check_same, before, now)
            if before.signature.class_names != now.signature.class_names:
                _log.warning('the classes of %s differ from those before', version)
            service.take_after(live.service)
            service.open()
            await asyncio.to_thread(service.warm_up)
            if service.failed:
                raise UserError(service.failed)
            # While it was compiled a rollback may have come.
            if await asyncio.to_thread(self.registry.resolve, self.reference) != version:
                _log.info('%s is no longer %s', self.reference, version)
                await service.close()
                return
        except asyncio.CancelledError:
            if service is not None:
                await service.close()
            raise
        except Unreachable as error:
            if service is not None:
                await service.close()
            _log.warning('%s stays: %s', self.version, error)
            metrics.registry_errors.inc()
            return
        except Exception as error:  # whatever is wrong with it, the old one goes on
            if service is not None:
                await service.close()
            self._refused = version.sha256, time.monotonic() + RETRY
            metrics.promotions.labels('refused').inc()
            _log.error('%s is refused, %s stays: %s', version, self.version, error)
            return
        old, self.version = self.version, version
        metrics.promotions.labels('live').inc()
        _log.info(
            '%s answers in place of %s, ready in %.1f s', version, old, time.perf_counter() - began
        )
        await live.replace(service)

    def _read(self) -> Version:
        """The version that is asked for; lists all versions where something is new."""
        registry, name = self.registry, self.reference.name
        numbers = registry.numbers(name, 'versions')
        seen = numbers, registry.numbers(name, 'history')[-1:]
        if seen != self._seen:
            for number in numbers:
                if number not in self._published or 'damaged' in self._published[number]:
                    self._published[number] = _told(registry, name, number)
            held = {}
            for stage in STAGES:
                try:
                    event = registry.held(name, stage)
                except Unreachable:
                    raise
                except UserError:
                    continue  # said below, if it is the stage that is followed
                if event is not None:
                    held.setdefault(event.version, []).append(stage)
            self.told = [
                {**self._published[number], 'stages': held.get(number, [])}
                for number in reversed(numbers)
            ]
        version = registry.resolve(self.reference)
        self._seen = seen
        return version


def _told(registry: Registry, name: str, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {'name': name, 'version': str(number)}
    try:
        version = registry.version(name, number)
    except Unreachable:
        raise
    except UserError:
        return {**row, 'damaged': True}
    return {**row, 'sha256': version.sha256, 'published': version.when}


def _refused(bundle: Bundle, raw: Any) -> str:
    """Why a bundle does not take an input; '' if it does."""
    try:
        rows = bundle.reader.rows(raw).rows
        arrays = bundle.checked(bundle.reader.stacked(rows))
        bundle.signature.bucket(bundle.length(arrays))
    except UserError as error:
        return str(error)
    return ''


def _check_same(old: Bundle, new: Bundle) -> None:
    """UserError where clients would have to send other inputs, or get another kind of answer."""
    before, now = old.signature, new.signature
    for name in ('takes', 'task', 'answer'):
        if getattr(before, name) != getattr(now, name):
            raise UserError(
                f'{name} was {getattr(before, name)} and is {getattr(now, name)}: clients have to '
                'know; start the server anew'
            )
    for raw in read_goldens(old.folder).raw:  # what clients send today: columns, texts, pairs
        refused = _refused(new, raw)
        if refused and not _refused(old, raw):
            raise UserError(
                f'it does not take the golden inputs of the version before ({refused}): clients '
                'have to know; start the server anew'
            )
