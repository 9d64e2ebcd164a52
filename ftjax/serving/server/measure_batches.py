"""Times the programs of a bundle on its goldens, to know which batches are worth it here."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from ftjax.io.process.own_cores import own_cores
from ftjax.serving.bundle.exported_programs import platform
from ftjax.serving.bundle.golden_rows import fitting
from ftjax.serving.bundle.goldens import Goldens
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.server.batch_costs import BatchCosts, Key, best_costs, measured_seconds

TRIED = 8
"""Batches at once that are tried at most, unless more are asked for: each needs its own memory."""


def measured_costs(
    bundle: Bundle, goldens: Goldens, sizes: Sequence[int], runners: int, threads: Executor
) -> BatchCosts:
    """What batches cost on this machine.

    Args:
      bundle: whose programs are compiled for all sizes.
      goldens: of the bundle: what runs. A length that holds none is not measured.
      sizes: examples a batch, ascending.
      runners: batches at once to try beside 1; 0 for one a core of a CPU (at most TRIED), 1 on an
        accelerator.
      threads: that batches run in.
    """
    most = runners or (min(own_cores(), TRIED) if platform() == 'cpu' else 1)
    return best_costs(sizes, timed(bundle, goldens, sizes, sorted({1, most}), threads))


def timed(
    bundle: Bundle,
    goldens: Goldens,
    sizes: Sequence[int],
    tried: Sequence[int],
    threads: Executor,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, dict[Key, float]]:
    """Seconds a batch; see `measured_seconds`. Arguments as of `measured_costs`, and

    Args:
      bundle, goldens, sizes, threads: see there.
      tried: batches at once.
      clock: seconds that pass.
    """
    signature, given = bundle.signature, {}
    for bucket in signature.buckets:
        inputs, at = fitting(goldens, signature, bucket)
        for size in sizes if len(at) else ():
            rows = np.resize(np.arange(len(at)), size)
            given[bucket, size] = {name: array[rows] for name, array in inputs.items()}

    def run(bucket: int, size: int, many: int) -> None:
        one = functools.partial(bundle.run, given[bucket, size], size, bucket)
        for each in [threads.submit(one) for _ in range(many)]:
            each.result()

    buckets = dict.fromkeys(bucket for bucket, _ in given)
    return measured_seconds(run, buckets, sizes, tried, clock)
