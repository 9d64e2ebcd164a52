"""An engine of processes on this machine: each has a JAX of its own, none shares anything."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

from ftjax.ablation.engines.engine import Job, Outcome, Run, Server, Work, with_default
from ftjax.ablation.engines.pool import Pool, Worker

GRACE = 5.0
"""Seconds that a worker has to end after SIGTERM before it is killed."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """Jobs in processes of this machine, so many at a time.

    All see all processors: with fewer, a compiler may add up in another order, and the rows
    would depend on the engine.
    """

    workers: int
    start: Callable[[], None] | None = None

    @contextlib.contextmanager
    def open(self, work: Work) -> Iterator[Run]:
        """See Engine."""
        pool = Pool(lambda kind: ProcessWorker(work, self.start), ready, self.workers)
        try:
            pool.start_workers(self.workers)  # they start while the caller sees what is to do
            yield pool.run
        finally:
            pool.close()


class ProcessWorker:
    """One process, spawned: a fork would copy the threads' locks of a JAX that has run."""

    def __init__(self, work: Work, start: Callable[[], None] | None):
        context = multiprocessing.get_context('spawn')
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, work, start), daemon=True)
        # An accelerator's memory is shared: nobody may take most of it at the start.
        with with_default('XLA_PYTHON_CLIENT_PREALLOCATE', 'false'):
            self.process.start()
        theirs.close()  # else the end of the process would not close the pipe

    def give(self, job: Job) -> None:
        """See Worker."""
        with contextlib.suppress(OSError):
            self.ours.send(job)

    def take(self) -> Outcome:
        """See Worker."""
        try:
            return self.ours.recv()
        except (EOFError, OSError):
            self.process.join()
            return Outcome(death=ending(self.process.exitcode))

    def end(self) -> None:
        """See Worker."""
        self.process.terminate()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.ours.close()


def ready(workers: list[Worker], seconds: float) -> Sequence[Worker]:
    """The workers whose pipe has something to read, its end included."""
    by_pipe: dict[Any, Any] = {worker.ours: worker for worker in workers}  # pyrefly: ignore
    return [by_pipe[pipe] for pipe in connection.wait(list(by_pipe), seconds)]


def ending(code: int | None) -> str:
    """How a process ended, in words.

    >>> ending(-9), ending(3)
    ('SIGKILL', 'exit code 3')
    """
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f'exit code {code}'


def serve(pipe: connection.Connection, work: Work, start: Callable[[], None] | None) -> None:
    """What a worker process does: jobs, in a thread, until its parent is gone.

    The main thread waits for the parent, so that a worker ends with it however it ends, and in
    the midst of a cell. Outside the main thread the training loop takes no signals: a stop is
    the parent's to make, and what SIGTERM ends here is not saved anyway.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of its group
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=answer, args=(pipe, Server(work, start)), daemon=True).start()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def answer(pipe: connection.Connection, server: Server) -> None:
    """Outcomes for jobs, until the pipe is closed."""
    try:
        while True:
            pipe.send(server.attempt(pipe.recv()))
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # of pickling, say: silence would keep the parent waiting
        traceback.print_exc()
        os._exit(1)
