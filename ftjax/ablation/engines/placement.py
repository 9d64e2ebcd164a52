"""Which share of a cluster's devices a run gets, and on which machine it goes: pure functions.

A run that its forecast lets fit gets a device; where there are more workers than devices, as many
share one as fit together. One that does not fit gets several devices of one machine, with its
leaves in parts over them (`mesh.fsdp`). Machines without devices run as many as they have cores.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ftjax.errors import UserError
from ftjax.io.process.host_memory import shown_size

MOST_ON_A_DEVICE = 8
"""Runs that share a device, at most: each is a process, with a context of its own on it."""
USED = 0.9
"""Share of a device's memory that forecasts may fill: a forecast is no measurement."""
PARTS = 10_000
"""Ray counts fractions of a device in ten thousandths."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one machine of a cluster has for runs."""

    name: str
    cpus: float
    devices: int = 0
    memory: int | None = None
    """Bytes of each device that runs may use; None where nobody knows."""

    def holds(self, size: int) -> bool:
        """Whether a run of so many bytes fits a device of it."""
        return bool(self.devices) and (self.memory is None or size <= USED * self.memory)


@dataclasses.dataclass(frozen=True)
class Need:
    """What a run holds on each device, as forecast."""

    bytes: int
    stored: bool = False
    """Whether it trains on stored features alone: it then leaves most of a device idle."""


class Needs(Protocol):
    """What an engine with devices asks of the arms of a grid."""

    @property
    def memory(self) -> int | None:
        """Bytes of each device, if the config says so."""
        ...

    def by_hand(self, arm: str) -> float | None:
        """Devices that the config gives to each run of an arm; None where it leaves them open."""
        ...

    def meshed(self, arm: str) -> int:
        """Devices of the mesh that the config names for an arm; 0 where it names none."""
        ...

    def networkless(self, arm: str) -> bool:
        """Whether an arm needs no device at all."""
        ...

    def need(self, arm: str, runs: int, limit: int | None) -> Need:
        """Of so many runs in one program, on the devices that this process sees.

        Raises:
          UserError: the run cannot be shared out over them.
        """
        ...

    def on(self, fsdp: int) -> Any:
        """The `Work` whose runs have their leaves in parts over so many devices."""
        ...


@dataclasses.dataclass(frozen=True)
class Share:
    """What a worker is given; workers of one share are alike."""

    devices: float = 0.0
    """Below 1: this share of one; from 1 on: so many whole ones of one machine."""
    bytes: int = 0
    """That must be there on each of them."""
    fsdp: int = 1
    """Devices that leaves are in parts over; 1 for as the config says."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker is: a machine, and what it takes of which of its devices."""

    machine: str
    devices: tuple[int, ...] = ()
    amount: float = 0.0


def counts(machines: Sequence[Machine]) -> list[int]:
    """Numbers of devices of one machine that a run may be tried on, rising.

    >>> counts([Machine('a', 8, devices=6), Machine('b', 8, devices=2)]), counts([Machine('c', 8)])
    ([1, 2, 4, 6], [])
    """
    most = max((machine.devices for machine in machines), default=0)
    return sorted({2**n for n in range(most.bit_length())} | {most}) if most else []


def share_of(
    need: Need, count: int, machines: Sequence[Machine], workers: int | None = None
) -> Share | None:
    """The share of a run that was forecast on `count` devices; None if it does not fit so many.

    Args:
      need: on each of the devices.
      count: 1, or devices that its leaves are in parts over.
      machines: of the cluster.
      workers: runs at a time, as asked for; None for one a device, of runs on stored features
        one a core.

    >>> machines = [Machine('a', cpus=16, devices=2, memory=10 * 2**30)]
    >>> share_of(Need(2**30, stored=True), 1, machines), share_of(Need(2**30), 1, machines).devices
    (Share(devices=0.125, bytes=1073741824, fsdp=1), 1.0)
    """
    fitting = [one for one in machines if one.devices >= count and one.holds(need.bytes)]
    if not fitting:
        return None
    if count > 1:
        return Share(float(count), need.bytes, fsdp=count)
    devices = sum(machine.devices for machine in fitting)
    known = [machine.memory for machine in fitting if machine.memory is not None]
    room = 1
    if len(known) == len(fitting):
        room = int(USED * min(known)) // max(need.bytes, 1)
    asked = workers or (sum(one.cpus for one in fitting) if need.stored else devices)
    sharing = max(1, min(room, MOST_ON_A_DEVICE, math.ceil(asked / devices)))
    return Share(1.0 if sharing == 1 else (PARTS // sharing) / PARTS, need.bytes)


def share_by_hand(devices: float, meshed: int, machines: Sequence[Machine], where: str) -> Share:
    """The share that a config gives, without a forecast.

    Raises:
      UserError: no machine has so many devices.
    """
    most = max((machine.devices for machine in machines), default=0)
    if devices > most:
        raise UserError(
            f'{where} is {devices:g}, and no machine of the cluster has more than {most} devices'
        )
    if meshed and meshed != devices:
        raise UserError(f'{where} is {devices:g}, and config.mesh asks for {meshed} devices')
    return Share(float(devices), fsdp=1 if meshed else max(1, int(devices)))


def place(share: Share, taken: Sequence[Place], machines: Sequence[Machine]) -> Place | None:
    """Where a worker of a share goes beside others; None where there is no room for it now.

    On the machine with the smallest devices that are large enough; a part of a device goes where
    the least is left over, so that whole ones stay free.
    """
    for machine in sorted(machines, key=lambda one: (one.memory or math.inf, one.name)):
        here = [other for other in taken if other.machine == machine.name]
        if len(here) + 1 > machine.cpus:
            continue
        if not share.devices:
            return Place(machine.name)
        if not machine.holds(share.bytes):
            continue
        used: dict[int, float] = collections.defaultdict(float)
        for other in here:
            for device in other.devices:
                used[device] += other.amount
        left = {device: round(1 - used[device], 6) for device in range(machine.devices)}
        amount = min(share.devices, 1.0)
        free = sorted((rest, device) for device, rest in left.items() if rest >= amount)
        wanted = max(1, int(share.devices))
        if len(free) >= wanted:
            devices = tuple(device for _, device in free[:wanted])
            return Place(machine.name, devices, amount)
    return None


def refusal(arm: str, found: Mapping[int, Need | str], machines: Sequence[Machine]) -> UserError:
    """The error of an arm that fits nowhere, told before the first run.

    Args:
      arm: its name.
      found: number of devices to the forecast on each, or to why there can be none.
      machines: of the cluster.
    """
    told = []
    for count, need in found.items():
        where = 'on a device' if count == 1 else f'on each of {count} (mesh.fsdp={count})'
        if isinstance(need, str):
            told.append(f'cannot run {where}: {need}')
        else:
            told.append(f'needs {shown_size(need.bytes)} {where}')
    largest = max((machine.memory or 0 for machine in machines), default=0)
    return UserError(
        f'arm {arm!r} {"; ".join(told)}; the largest device of the cluster has '
        f'{shown_size(largest)}, of which forecasts may fill {USED:.0%}; scripts/plan.py with the '
        'same config says what would fit, and config.ablation.devices_per_run decides by hand'
    )
