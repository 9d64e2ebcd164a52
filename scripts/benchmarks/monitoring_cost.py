"""What the sketches cost a server: requests with and without them, in turn, in one process."""

from __future__ import annotations

import asyncio
import pathlib
import statistics
import tempfile
import time
from typing import Any

import numpy as np

ROUNDS = 300


def cost(bundle: Any) -> dict[str, Any]:
    """Median milliseconds of a request of 1 and of 8 images, with and without; and by part."""
    from ftjax.serving.bundle.reference import read_reference
    from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
    from ftjax.serving.server.request_inputs import Asked
    from ftjax.serving.server.server_settings import ServerSettings
    from ftjax.serving.server.service import Service

    reference = read_reference(bundle.folder, bundle.signature)
    random = np.random.default_rng(0)
    height, width, channels = bundle.signature.inputs['images'].shape
    images = random.integers(0, 256, (8, height, width, channels), np.uint8)

    async def whole(folder: pathlib.Path) -> dict[str, Any]:
        settings = ServerSettings(batch_sizes=(1, 8), latency_ms=0.0)
        traffic = TrafficMonitor(bundle, reference, folder)
        services = [Service(bundle, settings, kept) for kept in (None, traffic)]
        for service in services:
            service.start()
            while not service.ready:
                if service.failed:
                    raise RuntimeError(service.failed)
                await asyncio.sleep(0.01)
        rows = []
        for count in (1, 8):
            times: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for service, own in zip(services, times, strict=True):
                    began = time.perf_counter()
                    await service.answer(Asked(tuple(images[:count])), 'r')
                    own.append(1000 * (time.perf_counter() - began))
            without, with_it = map(statistics.median, times)
            differences = [b - a for a, b in zip(*times, strict=True)]
            rows.append(
                {
                    'inputs': count,
                    'without': without,
                    'with': with_it,
                    'difference': statistics.median(differences),
                }
            )
        for service in services:
            await service.close()
        return {'rounds': ROUNDS, 'requests': rows}

    with tempfile.TemporaryDirectory() as beside:
        return asyncio.run(whole(pathlib.Path(beside)))
