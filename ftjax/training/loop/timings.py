"""Where the seconds of a run went: compilation apart from steps, phase by phase."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.freezing.plan.phase import Phase
from ftjax.io.json.json_values import JsonObject
from ftjax.xla.program_cache import Program

MOST = 4096
"""Step times that are kept of a phase: enough for a median, little in a checkpoint."""


@dataclasses.dataclass
class PhaseTimes:
    """Of one phase: the programs it used first, and the seconds of each of its steps."""

    about: dict[str, Any]
    """First step, cut and trainable parameters."""
    compile_seconds: float = 0.0
    flops: float | None = None
    bytes: int | None = None
    """Device memory while a call runs; of the program that takes most."""
    count: int = 0
    """Steps run."""
    steps: list[float] = dataclasses.field(default_factory=list)
    warm: list[float] = dataclasses.field(default_factory=list)
    """Steps of calls after the first of their program, which pays for its loading too."""

    @property
    def median(self) -> float | None:
        """Median seconds a step."""
        times = self.warm or self.steps
        return float(np.median(times)) if times else None


class Timings:
    """Collects times while a run goes on, over its interruptions if they are saved with it."""

    def __init__(self):
        self.phases: list[PhaseTimes] = []
        # By weak reference, so that the cache of programs can free what it drops.
        self.known: weakref.WeakValueDictionary[int, Program] = weakref.WeakValueDictionary()
        self.stages: dict[str, float] = {}
        """Seconds by what they were spent on: data, step, evaluation, checkpoint .."""
        self.earlier, self.began = 0.0, time.perf_counter()

    def enter(self, phase: Phase) -> None:
        """What follows belongs to this phase."""
        if not self.phases or self.phases[-1].about['start'] != phase.start:
            about = {
                'start': phase.start,
                'cut': phase.cut,
                'params_trainable': phase.size(trainable_only=True),
            }
            self.phases.append(PhaseTimes(about))

    def add(self, program: Program, seconds: float, steps: int, counted_once: int = 1) -> None:
        """A call of a program that ran some steps.

        Its FLOPs, which the compiler counts of one part of a batch on one device, are multiplied by
        `counted_once`.
        """
        now, new = self.phases[-1], id(program) not in self.known
        if new:
            self.known[id(program)] = program
            now.compile_seconds += program.seconds
        if now.flops is None and program.flops is not None:
            now.flops = program.flops * counted_once
        now.bytes = max(now.bytes or 0, program.bytes or 0) or None
        now.count += steps
        self.stages['step'] = self.stages.get('step', 0.0) + seconds
        for times in (now.steps, *([] if new else [now.warm])):
            times.extend([seconds / steps] * steps)
            del times[: max(0, len(times) - MOST)]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the seconds of a block as spent on `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self.stages[name] = self.stages.get(name, 0.0) + spent

    @property
    def wall_seconds(self) -> float:
        """Since the run's first start, the time between interruptions left out."""
        return self.earlier + time.perf_counter() - self.began

    def to_saved(self) -> dict[str, object]:
        """What a checkpoint holds; the inverse of from_saved."""
        rows = []
        for phase in self.phases:
            row = {field.name: getattr(phase, field.name) for field in dataclasses.fields(phase)}
            arrays = {name: np.asarray(row[name], np.float64) for name in ('steps', 'warm')}
            rows.append({**row, **arrays})
        return {'phases': rows, 'stages': dict(self.stages), 'wall': self.wall_seconds}

    @classmethod
    def from_saved(cls, saved: JsonObject) -> Timings:
        """From a checkpoint."""
        timings = cls()
        for row in saved['phases']:
            lists = {name: row[name].tolist() for name in ('steps', 'warm')}
            timings.phases.append(PhaseTimes(**{**row, **lists}))
        timings.stages, timings.earlier = dict(saved['stages']), saved['wall']
        return timings

    @property
    def compile_seconds(self) -> float:
        """Seconds of compilation of all programs that the run used."""
        return sum(phase.compile_seconds for phase in self.phases)

    @property
    def step_seconds_median(self) -> float | None:
        """Median seconds a step over all phases."""
        times = [t for p in self.phases for t in p.warm] or [
            t for p in self.phases for t in p.steps
        ]
        return float(np.median(times)) if times else None

    @property
    def flops(self) -> float | None:
        """FLOPs of a step, all parts and devices: the mean over the steps of all phases."""
        counted = [(p.flops, p.count) for p in self.phases if p.flops is not None]
        steps = sum(n for _, n in counted)
        return sum(f * n for f, n in counted) / steps if steps else None

    @property
    def bytes(self) -> int | None:
        """Device memory of the steps, as compiled: of the phase that takes most."""
        return max((p.bytes for p in self.phases if p.bytes is not None), default=None)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values: an entry a phase."""
        return [
            {
                **p.about,
                'steps': p.count,
                'compile_seconds': p.compile_seconds,
                'step_seconds_median': p.median,
                'step_flops': p.flops,
                'step_bytes': p.bytes,
            }
            for p in self.phases
        ]
