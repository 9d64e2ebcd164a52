"""What a promotion costs the requests that come while the next version takes its place."""

from __future__ import annotations

import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from benchmarks.server.http_load import Answered, load, post
from benchmarks.server.networks import wrong_answers
from benchmarks.server.processes import serving_version

CLIENTS = 4
NAME = 'model'
STEADY, WHOLE = 4.0, 10.0
"""Seconds before the promotion, and of all."""


def swap(bundle: pathlib.Path, requests: Sequence[tuple[bytes, str]], expected: Any) -> Any:
    """A row of what clients saw before, during and after a promotion.

    The second version is the first with another card: answers do not change, all files are
    verified, goldens run.
    """
    from ftjax.serving.versions.promotions import promote
    from ftjax.serving.versions.publishing import publish
    from ftjax.serving.versions.registry import Registry

    with tempfile.TemporaryDirectory() as beside:
        place = pathlib.Path(beside)
        registry = Registry(str(place / 'versions'))
        publish(registry, bundle, NAME)
        publish(registry, _with_another_card(bundle, place / 'second'), NAME)
        promote(registry, f'{NAME}@1', 'production', 'first')
        at: list[float] = []

        def promoted() -> None:
            time.sleep(STEADY)
            at.append(time.perf_counter())
            promote(registry, f'{NAME}@2', 'production', 'second')

        with serving_version(str(place / 'versions'), f'{NAME}@production') as server:
            server.wait()
            other = threading.Thread(target=promoted)
            other.start()
            found = load(server.port, [post(*each) for each in requests], CLIENTS, WHOLE)
            other.join()
    return row_of(found, at[0], wrong_answers(found, expected) + found.cut)


def row_of(found: Answered, promoted: float, wrong: int) -> dict[str, Any]:
    """Percentiles of requests that ended before the promotion, met it, or were sent after it.

    A promotion lasts from its record in the registry to the last answer of the old version.

    Args:
      found: of all of the load; there must be answers of both versions.
      promoted: when, by the clock of `load`.
      wrong: answers.
    """
    came = np.array(found.came)
    sent = came - np.array(found.times)
    old = np.array([b'"version":"1"' in body for _, _, body in found.bodies])
    if old.all():
        raise RuntimeError(f'the promotion took more than {WHOLE - STEADY:g} s')
    over = max(promoted, float(came[old].max()))
    parts = {
        'steady': came < promoted,
        'swap': (came >= promoted) & (sent <= over),
        'after': sent > over,
    }
    row: dict[str, Any] = {'clients': CLIENTS, 'swap_seconds': over - promoted, 'wrong': wrong}
    for name, which in parts.items():
        times = 1000 * np.array(found.times)[which]
        p50, p99 = np.percentile(times, (50, 99)) if len(times) else (None, None)
        row[name] = {'requests': len(times), 'p50_ms': p50, 'p99_ms': p99}
        row[name]['longest_ms'] = float(times.max(initial=0))
    return row


def _with_another_card(bundle: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    from ftjax.io.json.json_reader import read_object
    from ftjax.serving.bundle.manifest import MANIFEST, write_manifest

    shutil.copytree(bundle, folder)
    found = read_object(folder / MANIFEST)
    (folder / MANIFEST).unlink()
    card = folder / 'README.md'
    card.write_text(card.read_text() + '\nThe second version.\n')
    write_manifest(folder, found['versions'], found['version'], network=found.get('network'))
    return folder
