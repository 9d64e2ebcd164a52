"""An engine of Ray actors: workers on this machine, or on all machines of a cluster.

Machines of a cluster need ftjax, and the data and checkpoints under the same paths; environment
variables of ftjax and JAX go with the jobs.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ftjax.ablation.engines.engine import Job, Outcome, Run, Server, Work, with_default
from ftjax.ablation.engines.pool import Pool, Worker
from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject

PREFIXES = ('FTJAX_', 'JAX_', 'XLA_', 'OMP_')
"""Beginnings of the environment variables that workers get."""


class RayActors:
    """Jobs in actors of a Ray cluster, so many at a time."""

    def __init__(
        self, workers: int | None, start: Callable[[], None] | None = None, address: str = ''
    ):
        """`address` is that of a running cluster; empty to start one on this machine.

        Raises:
          UserError: Ray is not installed.
        """
        try:
            import ray  # noqa: F401
        except ImportError:
            raise UserError("--engine=ray needs Ray: pip install 'ftjax[ray]'") from None
        self.start, self.address = start, address
        self.wanted = workers if workers or address else os.cpu_count() or 1

    @property
    def workers(self) -> int:
        """Jobs at a time; of a cluster whose size is not known yet, 1."""
        return self.wanted or 1

    @contextlib.contextmanager
    def open(self, work: Work) -> Iterator[Run]:
        """See Engine."""
        import ray

        mine = not ray.is_initialized()
        if mine:
            connect(self.address, self.wanted)
        pool = None
        try:
            total = ray.cluster_resources()
            self.wanted = self.wanted or int(total.get('CPU', 1))
            accelerators = min(1.0, total.get('GPU', 0) / self.wanted)
            actor = ray.remote(num_cpus=1, num_gpus=accelerators)(Server)
            given = ray.put(work)
            pool = Pool(functools.partial(RayWorker, actor, given, self.start), ready, self.workers)
            yield pool.run
        finally:
            if pool is not None:
                pool.close()
            if mine:
                ray.shutdown()


class RayWorker:
    """One actor."""

    def __init__(self, actor: Any, work: object, start: Callable[[], None] | None):
        self.actor: Any = actor.remote(work, start)
        self.result: Any = None

    def give(self, job: Job) -> None:
        """See Worker."""
        self.result = self.actor.attempt.remote(job)

    def take(self) -> Outcome:
        """See Worker."""
        import ray

        try:
            return ray.get(self.result)
        except ray.exceptions.RayError as error:
            return Outcome(death=f'{type(error).__name__} ({said(error)})')

    def end(self) -> None:
        """See Worker."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(self.actor)


def ready(workers: list[Worker], seconds: float) -> Sequence[Worker]:
    """The workers whose job has ended, one at most."""
    import ray

    of: dict[Any, Any] = {worker.result: worker for worker in workers}  # pyrefly: ignore
    return [of[result] for result in ray.wait(list(of), num_returns=1, timeout=seconds)[0]]


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
