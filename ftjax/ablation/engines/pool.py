"""Jobs shared out over workers that may die: each death costs one job, which gets a second try."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ftjax.ablation.engines.engine import Cell, Job, Outcome, row_of
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.distributed.preemption import stop_if_requested
from ftjax.errors import UserError

POLL = 0.2
"""Seconds between two looks at whether a stop was asked for."""


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


StartWorker = Callable[[], Worker]
Ready = Callable[[list[Worker], float], Sequence[Worker]]
"""(workers, seconds) -> those that have an outcome, after so many seconds at most."""


class Pool:
    """Up to so many workers, started when there is something to do and kept between rounds."""

    def __init__(self, start_worker: StartWorker, ready: Ready, workers: int):
        self.start_worker, self.ready, self.workers = start_worker, ready, workers
        self.idle: list[Worker] = []
        self.busy: dict[Worker, Job] = {}
        self.arms: dict[Worker, set[str]] = collections.defaultdict(set)
        """The arms whose programs a worker has compiled."""
        self.died: set[Cell] = set()
        """Cells whose worker has died once."""

    def run(self, jobs: Sequence[Job]) -> Iterator[OwnRow]:
        """Rows as they are finished.

        Raises:
          UserError: a cell raised it.
          RuntimeError: a cell raised anything else; the worker's traceback is in the message.
          Interrupted: a stop was asked for.
        """
        waiting = collections.deque(jobs)
        while waiting or self.busy:
            stop_if_requested()
            self.hand_out(waiting)
            for worker in self.ready(list(self.busy), POLL):
                job = self.busy.pop(worker)
                outcome = worker.take()
                if outcome.death:
                    worker.end()
                    self.arms.pop(worker, None)
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
        while waiting and self.idle:
            worker = self.idle.pop()
            self.busy[worker] = self.next_job(worker, waiting)
            worker.give(self.busy[worker])
        coming = sum(not job for job in self.busy.values())
        self.start_workers(min(len(waiting) - coming, self.workers - len(self.busy)))

    def start_workers(self, count: int) -> None:
        """Starts workers, each with a job without cells."""
        for _ in range(count):
            worker = self.start_worker()
            self.busy[worker] = ()
            worker.give(())

    def next_job(self, worker: Worker, waiting: collections.deque[Job]) -> Job:
        """Takes the first job of an arm that no other worker has compiled; else the first.

        A small network compiles for longer than it trains, and each worker compiles for itself.
        """
        own = self.arms[worker]
        others = set().union(*(arms for one, arms in self.arms.items() if one is not worker))
        job = next((job for job in waiting if job[0][0] not in others - own), waiting[0])
        waiting.remove(job)
        own.add(job[0][0])
        return job

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
