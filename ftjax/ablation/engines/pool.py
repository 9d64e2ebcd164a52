"""Jobs shared out over workers that may die: each death costs one job, which gets a second try.

Workers may be of several kinds, with other devices say, and jobs then go to those of their kind.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Protocol

from ftjax.ablation.engines.engine import Cell, Job, Outcome, row_of
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.distributed.preemption import stop_if_requested
from ftjax.errors import UserError

POLL = 0.2
"""Seconds between two looks at whether a stop was asked for."""
MOST_LOST = 3
"""Machines that may be lost under a job before that counts as deaths of its worker."""


class Worker(Protocol):
    """One process somewhere, that does one job at a time."""

    def give(self, job: Job) -> None:
        """Starts a job; a worker that is dead says so when asked for the outcome."""
        ...

    def take(self) -> Outcome:
        """What became of the job, once it is ready."""
        ...

    def end(self) -> None:
        """Ends the process, whatever it does."""
        ...


StartWorker = Callable[[Hashable], Worker | None]
"""A worker for jobs of a kind; None where there is no room for one now."""
Ready = Callable[[list[Worker], float], Sequence[Worker]]
"""(workers, seconds) -> those that have an outcome, after so many seconds at most."""
KindOf = Callable[[Job], Hashable]
"""What kind of worker a job needs: jobs of a kind go to any worker of it."""


class Pool:
    """Up to so many workers, started when there is something to do and kept between rounds."""

    def __init__(
        self,
        start_worker: StartWorker,
        ready: Ready,
        workers: int,
        kind_of: KindOf = lambda job: None,
    ):
        self.start_worker, self.ready, self.workers = start_worker, ready, workers
        self.kind_of = kind_of
        self.idle: list[Worker] = []
        self.busy: dict[Worker, Job] = {}
        self.kinds: dict[Worker, Hashable] = {}
        self.arms: dict[Worker, set[str]] = collections.defaultdict(set)
        """The arms whose programs a worker has compiled."""
        self.died: set[Cell] = set()
        """Cells whose worker has died once."""
        self.lost: collections.Counter[Cell] = collections.Counter()
        """Machines that were lost under a cell."""

    def run(self, jobs: Sequence[Job]) -> Iterator[OwnRow]:
        """Rows as they are finished.

        Raises:
          UserError: a cell raised it.
          RuntimeError: a cell raised anything else; the worker's traceback is in the message.
          Interrupted: a stop was asked for.
        """
        waiting = collections.deque(jobs)
        # Workers that are still to come when all jobs are done wait for the next round: there may
        # be no machine for them any more.
        while waiting or any(self.busy.values()):
            stop_if_requested()
            self.hand_out(waiting)
            for worker in self.ready(list(self.busy), POLL):
                job = self.busy.pop(worker)
                outcome = worker.take()
                if outcome.death:
                    self.end(worker)
                    if outcome.lost and self.lose(job):
                        waiting.extendleft([job] if job else [])
                        continue
                    if not job:
                        raise UserError(
                            f'a worker ended by {outcome.death} before its first run; try fewer '
                            '--workers, or --engine=in_process'
                        )
                    again, rows = self.after_death(job, outcome.death)
                    waiting.extendleft(reversed(again))
                    yield from rows
                    continue
                self.idle.append(worker)
                if outcome.mistake:
                    raise UserError(outcome.mistake)
                if outcome.fault:
                    what = f'the run {job[0]}' if job else 'the start'
                    raise RuntimeError(f'{what} failed in a worker:\n{outcome.fault}')
                yield from outcome.rows

    def hand_out(self, waiting: collections.deque[Job]) -> None:
        """Gives jobs to idle workers, and starts workers where jobs are left over.

        A new worker first gets a job without cells: what it dies of then is no fault of a cell.
        """
        for worker in reversed(self.idle[:]):
            job = self.next_job(worker, waiting)
            if job is not None:
                self.idle.remove(worker)
                self.busy[worker] = job
                worker.give(job)
        coming = collections.Counter(self.kinds[one] for one, job in self.busy.items() if not job)
        left = collections.Counter(map(self.kind_of, waiting))
        for kind, count in left.items():
            self.start_workers(count - coming[kind], kind)

    def start_workers(self, count: int, kind: Hashable = None) -> None:
        """Starts workers of a kind, each with a job without cells, as far as there is room.

        Idle ones make room: there is no job of their kind.
        """
        for _ in range(count):
            worker = None
            while worker is None:
                if len(self.busy) + len(self.idle) < self.workers:
                    worker = self.start_worker(kind)
                if worker is None:
                    if not self.idle:
                        return
                    self.end(self.idle.pop(0))
            self.kinds[worker] = kind
            self.busy[worker] = ()
            worker.give(())

    def next_job(self, worker: Worker, waiting: collections.deque[Job]) -> Job | None:
        """Takes the first job of an arm that no other worker has compiled; else the first.

        A small network compiles for longer than it trains, and each worker compiles for itself.
        None where no job is of the worker's kind.
        """
        kind = self.kinds[worker]
        fitting = [job for job in waiting if self.kind_of(job) == kind]
        if not fitting:
            return None
        own = self.arms[worker]
        others = set().union(*(arms for one, arms in self.arms.items() if one is not worker))
        job = next((job for job in fitting if job[0][0] not in others - own), fitting[0])
        waiting.remove(job)
        own.add(job[0][0])
        return job

    def lose(self, job: Job) -> bool:
        """Whether a lost machine is no fault of a job: it is its own after MOST_LOST of them."""
        self.lost.update(job)
        return all(self.lost[cell] <= MOST_LOST for cell in job)

    def end(self, worker: Worker) -> None:
        """Ends a worker, idle or dead."""
        worker.end()
        self.arms.pop(worker, None)
        self.kinds.pop(worker, None)

    def after_death(self, job: Job, how: str) -> tuple[list[Job], list[OwnRow]]:
        """The jobs to try again, one a cell, and the rows of cells that have been tried twice."""
        again: list[Job] = [(cell,) for cell in job if cell not in self.died]
        reason = f'its worker died twice, now by {how}'
        rows = [
            row_of(cell, {'status': 'failed', 'reason': reason})
            for cell in job
            if cell in self.died
        ]
        self.died.update(job)
        return again, rows

    def close(self) -> None:
        """Ends all workers."""
        for worker in [*self.busy, *self.idle]:
            worker.end()
        self.busy.clear()
        self.idle.clear()
        self.kinds.clear()
        self.arms.clear()
