"""Where the runs of a grid go on a Ray cluster with devices: forecast there, then placed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.engines.engine import Job, Outcome, Work
from ftjax.ablation.engines.placement import (
    Machine,
    Need,
    Needs,
    Place,
    Share,
    counts,
    place,
    refusal,
    share_by_hand,
    share_of,
)
from ftjax.ablation.engines.ray_cluster import machines, said
from ftjax.errors import UserError

LOOK = 5.0
"""Seconds between looks at which machines there are."""
WAIT = 60.0
"""Seconds without room for any worker after which that is said."""
_log = logging.getLogger(__name__)


class RayPlacement:
    """The shares of the arms that have been asked for, and where workers are."""

    def __init__(
        self,
        actor: Any,
        work: Work,
        start: Callable[[], None] | None,
        workers: int | None,
    ):
        """For a cluster that is joined.

        Args:
          actor: the class of `RayServer`, as an actor without resources.
          work: of the grid, with its `needs`.
          start: called once in every worker.
          workers: runs at a time, as asked for; None where nobody asks.
        """
        import ray

        assert work.needs is not None
        self.actor_class, self.work, self.start, self.workers = actor, work, start, workers
        self.needs: Needs = work.needs
        self.shares: dict[str, Share] = {}
        """By arm."""
        self.places: list[Place] = []
        """Of the workers that there are."""
        self.memory: dict[str, int | None] = {}
        """By machine."""
        self._works = {1: ray.put(work)}
        self._machines: list[Machine] = []
        self._looked = self._room = 0.0

    def learn(self, jobs: Sequence[Job]) -> None:
        """Finds the share of every arm of the jobs that has none yet.

        Raises:
          UserError: an arm fits nowhere, or what its run would refuse.
        """
        runs: dict[str, int] = {}
        for job in jobs:
            runs[job[0][0]] = max(len(job), runs.get(job[0][0], 1))
        todo = {arm: n for arm, n in runs.items() if arm not in self.shares}
        for arm in [*todo]:
            share = self.known(arm)
            if share is not None:
                self.shares[arm] = share
                del todo[arm]
        if todo:
            self.forecast(todo)

    def known(self, arm: str) -> Share | None:
        """The share of an arm for which nothing has to be forecast; None for others."""
        by_hand, meshed = self.needs.by_hand(arm), self.needs.meshed(arm)
        if self.needs.networkless(arm):
            return Share()
        if by_hand is None and meshed < 2:
            return None
        where = f'config.ablation.devices_per_run of arm {arm!r}'
        if by_hand is None:
            where, by_hand = f'config.mesh of arm {arm!r}', float(meshed)
        return share_by_hand(by_hand, meshed, self.look(), where)

    def forecast(self, arms: Mapping[str, int]) -> None:
        """Forecasts arms on the cluster's own devices: on one, then on more until all fit."""
        self.ask_memory()
        there, left = self.look(), dict(arms)
        found: dict[str, dict[int, Need | str]] = {arm: {} for arm in arms}
        for count in counts(there):
            able = [machine for machine in there if machine.devices >= count]
            limits = [machine.memory for machine in able]
            limit = None if None in limits else max(one for one in limits if one is not None)
            share = Share(float(count), fsdp=count)
            with self.one(share, next(m.name for m in able if m.memory == limit)) as actor:
                answers = answer(actor.forecast.remote(left, limit))
            for arm, need in answers.items():
                found[arm][count] = need
                fits = None if isinstance(need, str) else share_of(need, count, able, self.workers)
                if fits is not None:
                    self.shares[arm] = fits
                    del left[arm]
            if not left:
                return
        arm = next(iter(left))
        raise refusal(arm, found[arm], there)

    def ask_memory(self) -> None:
        """Asks every machine with devices how much each has for runs, unless the config says."""
        if self.needs.memory is not None:
            return
        todo = [m.name for m in self.look() if m.devices and m.name not in self.memory]
        with contextlib.ExitStack() as stack:
            asked = {
                name: stack.enter_context(self.one(Share(1.0), name)).memory.remote()
                for name in todo
            }
            self.memory |= {name: answer(reference) for name, reference in asked.items()}
        self._machines = []  # to be looked at anew

    @contextlib.contextmanager
    def one(self, share: Share, machine: str) -> Iterator[Any]:
        """An actor with a share of a machine, for a question."""
        import ray

        actor = self.actor(share, Place(machine))
        try:
            yield actor
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)

    def actor(self, share: Share, at: Place) -> Any:
        """A new actor with a share of the devices of a machine."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if share.fsdp not in self._works:
            meshed = self.needs.on(share.fsdp)
            self._works[share.fsdp] = ray.put(meshed.sharing(self.work.features))
        options = self.actor_class.options(
            num_cpus=1,
            num_gpus=share.devices,
            scheduling_strategy=NodeAffinitySchedulingStrategy(at.machine, soft=False),
        )
        devices = max(1, int(share.devices))
        return options.remote(self._works[share.fsdp], self.start, devices)

    def take(self, share: Share) -> Place | None:
        """A place for a worker, taken; None where there is no room for it now."""
        found = place(share, self.places, self.look())
        now = time.monotonic()
        if found is not None:
            self.places.append(found)
        elif self.places or not self._room:
            self._room = now
        elif now - self._room > WAIT:
            self._room = now
            _log.warning('no machine of the cluster has room for a run now: waiting for one')
        return found

    def leave(self, at: Place) -> None:
        """Gives a place back."""
        self.places.remove(at)

    def look(self) -> list[Machine]:
        """The machines that are there, as of a few seconds ago."""
        if time.monotonic() - self._looked > LOOK or not self._machines:
            self._machines = machines(self.memory, self.needs.memory)
            self._looked = time.monotonic()
        return self._machines


def answer(reference: Any) -> Any:
    """What an actor answers; UserError for a mistake of the user, RuntimeError for another."""
    import ray

    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise UserError(
            f'a forecast of what runs need ended by {type(error).__name__} ({said(error)}); '
            'config.ablation.devices_per_run decides without one'
        ) from error
    if outcome.mistake:
        raise UserError(outcome.mistake)
    if outcome.fault:
        raise RuntimeError(f'a forecast failed in a worker:\n{outcome.fault}')
    return outcome.answer
