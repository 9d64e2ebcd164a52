"""Seconds from a batch on the host to its outputs on the host."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.predict import Forward
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Inputs, Variables
from ftjax.xla.cost_analysis import flops_of
from ftjax.xla.program_cache import program

WARM_UP = 5
"""Calls that are not counted: the first ones allocate memory and fill caches."""
PROTOCOL = (
    'One process, one batch after the other. A call is timed from a batch of pixels or token ids '
    'in host memory to its outputs in host memory, so that it holds the copies to and from the '
    f'device; decoding and tokenising are not in it. {WARM_UP} calls are made first and not '
    'counted. Percentiles are of single calls (p99 from 100 calls on); examples a second are all '
    'examples over all seconds.'
)


@dataclasses.dataclass(frozen=True)
class Calls:
    """How often a batch is run: until both are reached, and never longer than four times."""

    count: int = 100
    seconds: float = 2.0


def forward_latency(
    network: Network,
    variables: Variables,
    preprocessing: Preprocessing | TextPreprocessing | None,
    inputs: Inputs,
    calls: Calls = Calls(),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Latency of a network on one batch: milliseconds, examples a second, bytes, FLOPs.

    Args:
      network, preprocessing: as of `predict`.
      variables: on the device.
      inputs: a batch, in host memory.
      calls: how often it is run.
      clock: seconds from any fixed point.
    """
    where = Sharding()
    run = Forward(network, preprocessing, None, where)
    compiled = program(run, variables, where.batch(inputs))

    def once() -> object:
        return np.asarray(compiled.call(variables, where.batch(inputs)))  # waits for the device

    for _ in range(WARM_UP):
        once()
    seconds: list[float] = []
    began = clock()
    while True:
        start = clock()
        once()
        end = clock()
        seconds.append(end - start)
        spent = end - began
        if len(seconds) >= calls.count and spent >= calls.seconds:
            break
        if spent >= 4 * calls.seconds and len(seconds) >= WARM_UP:
            break
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    texts = isinstance(inputs, Mapping) and 'input_ids' in inputs
    return {
        'batch_size': len(first),
        **({'length': int(first.shape[1])} if texts else {}),
        **percentiles(np.array(seconds), len(first)),
        'compile_seconds': compiled.seconds,
        'flops': flops_of(compiled.call),
        **_memory(compiled.call),
    }


def percentiles(seconds: np.ndarray, batch_size: int) -> dict[str, object]:
    """`p50_ms`, `p95_ms`, `p99_ms`, `examples_per_second` and `calls`.

    >>> percentiles(np.full(10, 0.5), 4)['examples_per_second']
    8.0
    """
    found: dict[str, object] = {'calls': len(seconds)}
    for share, least in ((50, 1), (95, 20), (99, 100)):
        enough = len(seconds) >= least
        found[f'p{share}_ms'] = 1000 * float(np.percentile(seconds, share)) if enough else None
    found['examples_per_second'] = float(batch_size * len(seconds) / seconds.sum())
    return found


def _memory(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes that the compiler plans for: weights and inputs, temporary memory, outputs."""
    found = compiled.memory_analysis()
    if found is None:
        return {}
    return {
        'argument_bytes': int(found.argument_size_in_bytes),
        'temporary_bytes': int(found.temp_size_in_bytes),
        'output_bytes': int(found.output_size_in_bytes),
    }
