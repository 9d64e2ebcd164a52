"""A Ray cluster: joined or started, and what its machines have."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Mapping

from ftjax.ablation.engines.engine import with_default
from ftjax.ablation.engines.placement import Machine
from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject

PREFIXES = ('FTJAX_', 'JAX_', 'XLA_', 'OMP_')
"""Beginnings of the environment variables that workers get."""


def connect(address: str, workers: int | None) -> None:
    """Joins a cluster, or starts one here; UserError where there is none at the address."""
    import ray

    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    given = {k: v for k, v in os.environ.items() if k.startswith(PREFIXES)}
    options: JsonObject = {'address': address, 'runtime_env': {'env_vars': given}}
    if not address:
        options = {'address': 'local', 'num_cpus': workers, 'include_dashboard': False}
    # Ray puts a handler of its own for SIGTERM in place of ours.
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        # Ray gives workers one thread of BLAS unless told: last digits would depend on it.
        threads = with_default('OMP_NUM_THREADS', str(os.cpu_count() or 1))
        memory = with_default('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
        with warnings.catch_warnings(), threads, memory:
            # JAX warns of the forks by which Ray starts its processes: each is another program.
            warnings.filterwarnings('ignore', 'os.fork', RuntimeWarning)
            ray.init(**options, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise UserError(f'no Ray cluster at {address!r}: {said(error)}') from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def said(error: Exception) -> str:
    """The last line of an error's message: of a traceback that has travelled, what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else 'no message'


def machines(memory: Mapping[str, int | None], other: int | None = None) -> list[Machine]:
    """The machines that are there now.

    Args:
      memory: of each device, by machine.
      other: that of machines which are not named there.
    """
    import ray

    return [
        Machine(
            node['NodeID'],
            node['Resources'].get('CPU', 0.0),
            int(node['Resources'].get('GPU', 0)),
            memory.get(node['NodeID'], other),
        )
        for node in ray.nodes()
        if node['Alive']
    ]


def is_lost(machine: str, error: Exception) -> bool:
    """Whether an actor ended with its machine: the cluster says so, or has it no more.

    Args:
      machine: that it was on; '' where it is not known.
      error: what was raised where its answer was asked for.
    """
    import ray

    if isinstance(error, ray.exceptions.ActorUnschedulableError) or 'node has died' in str(error):
        return True
    return bool(machine) and not any(
        node['Alive'] for node in ray.nodes() if node['NodeID'] == machine
    )
