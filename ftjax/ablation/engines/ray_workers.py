"""An engine of Ray actors: workers on this machine, or on all machines of a cluster.

Machines of a cluster need ftjax, and the data and checkpoints under the same paths; environment
variables of ftjax and JAX go with the jobs. Where machines have devices, ray_placement.py decides
which run gets how much of them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.engines.engine import Job, Outcome, Run, Server, Work
from ftjax.ablation.engines.placement import Need
from ftjax.ablation.engines.pool import Pool, Worker
from ftjax.ablation.engines.ray_cluster import connect, is_lost, said
from ftjax.ablation.engines.ray_placement import RayPlacement
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.errors import UserError


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
        self.start, self.address, self.given = start, address, workers
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
            devices = int(total.get('GPU', 0))
            if work.needs is None or not devices:
                pool = self.alike(work, min(1.0, devices / self.wanted))
                yield pool.run
            else:
                pool, run = self.placed(work)
                yield run
        finally:
            if pool is not None:
                pool.close()
            if mine:
                ray.shutdown()

    def alike(self, work: Work, devices: float) -> Pool:
        """Workers that all get the same share of the devices, wherever Ray puts them."""
        import ray

        actor = ray.remote(num_cpus=1, num_gpus=devices)(RayServer)
        given = ray.put(work)

        def start_worker(kind: object) -> Worker:
            return RayWorker(actor.remote(given, self.start))

        return Pool(start_worker, ready, self.workers)

    def placed(self, work: Work) -> tuple[Pool, Run]:
        """Workers with the devices that their runs need; the cluster alone limits their number."""
        import ray

        placement = RayPlacement(ray.remote(RayServer), work, self.start, self.given)

        def start_worker(share: Any) -> Worker | None:
            place = placement.take(share)
            if place is None:
                return None
            actor = placement.actor(share, place)
            return RayWorker(actor, place.machine, lambda: placement.leave(place))

        most = self.given or int(ray.cluster_resources().get('CPU', 1))
        pool = Pool(start_worker, ready, most, lambda job: placement.shares[job[0][0]])

        def run(jobs: Sequence[Job]) -> Iterator[OwnRow]:
            if any(job[0][0] not in placement.shares for job in jobs):
                pool.close()  # a forecast needs devices, which idle workers hold
                placement.learn(jobs)
            yield from pool.run(jobs)

        return pool, run


class RayServer(Server):
    """The other end, in an actor; `devices` are those that leaves are in parts over."""

    def __init__(self, work: Work, start: Callable[[], None] | None = None, devices: int = 1):
        super().__init__(work, start)
        self.devices = devices

    def attempt(self, job: Job) -> Outcome:
        """See Server; rows say over how many devices the run was shared out."""
        outcome = super().attempt(job)
        for row in outcome.rows if self.devices > 1 else ():
            row['devices'] = self.devices
        return outcome

    def node(self) -> str:
        """The machine that it is on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def memory(self) -> Outcome:
        """Bytes that runs may use of a device here."""

        def ask() -> Outcome:
            from ftjax.training.cost.memory_limit import device_limit

            return Outcome(answer=device_limit())

        return self.told(ask)

    def forecast(self, arms: Mapping[str, int], limit: int | None) -> Outcome:
        """Arm to what it needs on each of the devices here, or to why it cannot run on them.

        Args:
          arms: to the runs that one program holds.
          limit: bytes beyond which nothing is compiled.
        """
        needs = self.work.needs
        assert needs is not None

        def of(arm: str, runs: int) -> Need | str:
            try:
                return needs.need(arm, runs, limit)
            except UserError as error:
                if self.devices == 1:  # the run itself would refuse it
                    raise
                return str(error)

        return self.told(lambda: Outcome(answer={arm: of(arm, n) for arm, n in arms.items()}))


class RayWorker:
    """One actor."""

    def __init__(self, actor: Any, machine: str = '', leave: Callable[[], None] = lambda: None):
        """`leave` is called when it has ended."""
        self.actor, self.machine, self.leave = actor, machine, leave
        self.node: Any = actor.node.remote()
        self.result: Any = None

    def give(self, job: Job) -> None:
        """See Worker."""
        self.result = self.actor.attempt.remote(job)

    def take(self) -> Outcome:
        """See Worker."""
        import ray

        try:
            outcome = ray.get(self.result)
            self.machine = self.machine or ray.get(self.node)
            return outcome
        except ray.exceptions.RayError as error:
            how = f'{type(error).__name__} ({said(error)})'
            return Outcome(death=how, lost=is_lost(self.machine, error))

    def end(self) -> None:
        """See Worker."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(self.actor)
        self.leave()


def ready(workers: list[Worker], seconds: float) -> Sequence[Worker]:
    """The workers whose job has ended, one at most."""
    import ray

    if not workers:  # there is no room for one now
        time.sleep(seconds)
        return []
    of: dict[Any, Any] = {worker.result: worker for worker in workers}  # pyrefly: ignore
    return [of[result] for result in ray.wait(list(of), num_returns=1, timeout=seconds)[0]]
