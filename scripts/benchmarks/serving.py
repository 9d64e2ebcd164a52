"""A server of a bundle under load: beside the program alone, and beside FastAPI with PyTorch.

Sides of a network take turns, several rounds each: the compiled program, called directly with one
example and with a full batch; our server with one example a call; our server that puts requests
together; FastAPI with PyTorch in eager mode on the same weights. Clients run on the same
processors as the servers, so throughput is below that of clients elsewhere. Then what must not
happen is counted: wrong answers, lost requests. At last a server follows a promotion under load:
requests that meet it are timed beside those before and after. Options: `networks=vit,bert`,
`seconds=2`, `rounds=3`, `clients=(1,16)`; `bundle=FOLDER` for a bundle of your own, with
`hf=FOLDER` of the same run for PyTorch; `made=FOLDER` keeps the networks; `torch_threads=N`, all
cores if left out, as PyTorch itself takes them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from benchmarks.server.faults import faults
from benchmarks.server.http_load import Answered, load, post
from benchmarks.server.networks import TITLES, made_folders, requests_of, wrong_answers
from benchmarks.server.processes import Server, ours, torch_eager
from benchmarks.server.results import SIDES, write_results
from benchmarks.server.swaps import swap

LARGEST, SIZES = 32, '1,4,8,32'
PARTS = ('load', 'held', 'swaps')
Row = dict[str, Any]


def run(
    folder: pathlib.Path,
    networks: str = 'vit,bert',
    seconds: float = 2.0,
    rounds: int = 3,
    clients: Sequence[int] = (1, 16),
    bundle: str = '',
    hf: str = '',
    made: str = '',
    torch_threads: int = os.cpu_count() or 1,
) -> None:
    """Measures and writes serving.json, serving.md and serving.png."""
    with tempfile.TemporaryDirectory() as beside:
        place = pathlib.Path(made or beside)
        folders = {name: made_folders(name, place) for name in networks.split(',') if not bundle}
        if bundle:
            folders = {pathlib.Path(bundle).name: (pathlib.Path(bundle), hf and pathlib.Path(hf))}
        found: dict[str, list[Row]] = {part: [] for part in PARTS}
        loads, began = [], time.monotonic()
        for name, (own, other) in folders.items():
            more = measured(own, other, seconds, rounds, clients, torch_threads)
            for part, rows in zip(PARTS, more, strict=True):
                found[part] += [{'network': TITLES.get(name, name), **row} for row in rows]
            loads.append(os.getloadavg()[0])
            # After each network: what was measured is not lost if the next one fails.
            write_results(folder, found, (time.monotonic() - began, max(loads)))


def measured(
    own: pathlib.Path,
    other: Any,
    seconds: float,
    rounds: int,
    clients: Sequence[int],
    threads: int,
) -> tuple[list[Row], list[Row], list[Row]]:
    """(rows of the load test, of what was survived, of a promotion) of one bundle."""
    from ftjax import serving
    from ftjax.serving.bundle.goldens import read_goldens

    bundle, goldens = serving.load(own), read_goldens(own)
    requests, expected = requests_of(bundle, goldens)
    wire = [post(*each) for each in requests]
    with contextlib.ExitStack() as stack:
        starts: dict[str, Callable[[], Server]] = {
            SIDES[2]: lambda: ours(own, '--batch_sizes=1', '--latency_ms=0'),
            SIDES[3]: lambda: ours(own, f'--batch_sizes={SIZES}'),
        }
        if other:
            starts[SIDES[4]] = lambda: torch_eager(other, threads)
        servers = {}
        for name, start in starts.items():
            # One after the other: a server measures its batches while it starts.
            servers[name] = stack.enter_context(start())
            servers[name].wait()
        sides = sides_of(bundle, goldens, servers, wire, clients)
        found: dict[Any, list[Answered]] = {key: [] for key in sides}
        for _ in range(rounds):
            for key, side in sides.items():
                found[key].append(side(seconds))
    rows = [summary(key, several, expected) for key, several in found.items()]
    survived = faults(own, requests, expected, bundle.signature.takes)
    return rows, survived, [swap(own, requests, expected)]


def sides_of(
    bundle: Any,
    goldens: Any,
    servers: dict[str, Server],
    wire: Sequence[bytes],
    clients: Sequence[int],
) -> dict[tuple[str, int, int], Callable[[float], Answered]]:
    """What is measured, by (side, clients, examples a call)."""
    sides: dict[Any, Callable[[float], Answered]] = {
        (SIDES[0], 1, 1): lambda s: direct(bundle, goldens, 1, s),
        (SIDES[1], 1, LARGEST): lambda s: direct(bundle, goldens, LARGEST, s),
    }
    for count in clients:
        for name, server in servers.items():
            sides[name, count, 1] = lambda s, p=server.port, c=count: load(p, wire, c, s)
    return sides


def direct(bundle: Any, goldens: Any, size: int, seconds: float) -> Answered:
    """Calls of the compiled program on arrays that are read already."""
    told, number = Answered(), 0
    inputs = []
    for first in range(len(goldens.outputs)):
        at = (first + np.arange(size)) % len(goldens.outputs)
        inputs.append({name: array[at] for name, array in goldens.inputs.items()})
    bundle.run(inputs[0])
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        before = time.perf_counter()
        bundle.run(inputs[number % len(inputs)])
        told.times.append(time.perf_counter() - before)
        number += 1
    told.seconds = time.perf_counter() - began
    return told


def summary(key: tuple[str, int, int], several: Sequence[Answered], expected: Sequence[Any]) -> Row:
    """Throughput (median of rounds, lowest, highest), percentiles over all calls, wrong answers."""
    side, clients, size = key
    rates = [size * len(one.times) / one.seconds for one in several]
    times = 1000 * np.concatenate([one.times for one in several])
    row: Row = {'side': side, 'clients': clients, 'examples_per_second': float(np.median(rates))}
    row['rounds'] = [float(min(rates)), float(max(rates))]
    row |= {f'p{at}_ms': float(np.percentile(times, at)) for at in (50, 95, 99)}
    wrong = sum(wrong_answers(one, expected) + one.cut for one in several)
    return {**row, 'requests': len(times), 'wrong': wrong}
