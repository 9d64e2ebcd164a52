"""Where the cells of a grid run: the interface of an engine, and the simplest one.

An engine is given jobs, each of one cell or of several that run together, and gives back rows
as they are finished, in any order. Only its caller writes them down. Engines: this process
(here), processes of this machine (process_workers.py), actors of a Ray cluster (ray_workers.py).
The last two are one pool (pool.py) over two kinds of workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ftjax.ablation.engines.placement import Needs
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.distributed.preemption import stop_if_requested
from ftjax.errors import UserError

Cell = tuple[str, float | None, int]
"""(arm, rate, seed); the rate is None for an arm that is not trained."""
Job = tuple[Cell, ...]
"""Cells that one worker runs, together if there are several."""
Execute = Callable[[str, float | None, int], OwnRow]
"""(arm, rate, seed) -> a row's fields, `status` among them: a function of the cell alone."""
Together = Callable[[Job], list[OwnRow]]
"""The fields of several cells' rows, in the order of the cells."""
Run = Callable[[Sequence[Job]], Iterator[OwnRow]]


@dataclasses.dataclass(frozen=True)
class Work:
    """What is done with a job; engines with other processes pickle it."""

    execute: Execute
    together: Together | None = None
    needs: Needs | None = None
    """What runs need of devices, for engines that place them; None where nobody knows."""
    features: str = ''
    """Folder in which workers share stored features; '' where each keeps its own."""

    def __call__(self, job: Job) -> list[OwnRow]:
        """The rows of a job's cells, whole."""
        began = time.perf_counter()
        if len(job) > 1 and self.together is not None:
            found = self.together(job)
        else:
            found = [self.execute(*cell) for cell in job]
        spent = (time.perf_counter() - began) / len(job)
        # A run's own time leaves out data, network and test; a budget is spent on them too.
        times = {'wall_seconds': spent, 'cell_seconds': spent}
        return [row_of(cell, {**times, **row}) for cell, row in zip(job, found, strict=True)]

    def sharing(self, features: str) -> Work:
        """The same work whose workers share stored features in a folder."""
        return dataclasses.replace(self, features=features)


def row_of(cell: Cell, fields: OwnRow) -> OwnRow:
    """A row of runs.jsonl: which cell it is of, and its fields."""
    return {**dict(zip(('arm', 'rate', 'seed'), cell, strict=True)), **fields}


class Engine(Protocol):
    """Where jobs run."""

    @property
    def workers(self) -> int:
        """Jobs that run at a time."""
        ...

    def open(self, work: Work) -> contextlib.AbstractContextManager[Run]:
        """A function that runs jobs; leaving the context ends whatever it started."""
        ...


class InProcess:
    """One job after the other, here."""

    workers = 1

    @contextlib.contextmanager
    def open(self, work: Work) -> Iterator[Run]:
        """See Engine."""

        def run(jobs: Sequence[Job]) -> Iterator[OwnRow]:
            for job in jobs:
                stop_if_requested()
                yield from work(job)

        yield run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a job in another process: its rows, or one reason why there are none."""

    rows: list[OwnRow] = dataclasses.field(default_factory=list)
    mistake: str = ''
    """What a user can put right: it ends the grid, as it would here."""
    fault: str = ''
    """The traceback of anything else."""
    death: str = ''
    """How the worker ended, if it did not answer."""
    lost: bool = False
    """Whether it ended with its machine, which is no fault of the job."""
    answer: Any = None
    """To a question that is no job."""


class Server:
    """The other end of an engine with workers: does jobs and says what became of them.

    `start` is called before the first job, in the worker; a job without cells calls it alone.
    """

    def __init__(self, work: Work, start: Callable[[], None] | None = None):
        self.work, self.start, self.started = work, start, False

    def attempt(self, job: Job) -> Outcome:
        """Nothing that a cell raises gets out: a traceback does not travel."""
        return self.told(lambda: Outcome(rows=self.work(job) if job else []))

    def begin(self) -> None:
        """What comes before the first job."""
        if self.start is not None:
            self.start()
        if self.work.features:
            from ftjax.training.feature_cache.store import share_in  # JAX, which a toy has not

            share_in(self.work.features)

    def told(self, ask: Callable[[], Outcome]) -> Outcome:
        """What `ask` gives, after the start; what it raises becomes part of the outcome."""
        try:
            if not self.started:
                self.begin()
                self.started = True
            return ask()
        except UserError as error:
            return Outcome(mistake=str(error))
        except Exception:
            return Outcome(fault=traceback.format_exc())


@contextlib.contextmanager
def with_default(name: str, value: str) -> Iterator[None]:
    """Within it, and in processes started within it, an environment variable has a value."""
    before = os.environ.get(name)
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
