"""What a schedule strategy returns: what opens when, before the plan makes phases of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Segment:
    """From step `start` on: which leaves are open, and how fast."""

    start: int
    trainable: frozenset[str]
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By leaf; 1 where absent."""
    anneal: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By leaf: the step at which a cosine of its own has brought its rate to 0."""
    restart: bool = False
    """The rate's schedule begins anew."""
    reinit: frozenset[str] = frozenset()
    """Leaves that are re-initialised at `start`."""


def in_order(segments: list[Segment], steps: int) -> list[Segment]:
    """Those that begin within the run, by start; of several at one step, the last one.

    What any of them re-initialises is kept.
    """
    found: dict[int, Segment] = {}
    for segment in sorted(segments, key=lambda s: s.start):
        if segment.start >= max(steps, 1):
            continue
        before = found.get(segment.start)
        if before is not None:
            reinit = segment.reinit | before.reinit
            restart = segment.restart or before.restart
            segment = dataclasses.replace(segment, reinit=reinit, restart=restart)
        found[segment.start] = segment
    return list(found.values())
