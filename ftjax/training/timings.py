"""Where the seconds of a run went: compilation apart from steps, phase by phase."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

from ftjax.freezing.phase import Phase
from ftjax.training.cost import flops_of
from ftjax.training.programs import Program


@dataclasses.dataclass
class PhaseTimes:
    """Of one phase: the programs it used first, and the seconds of each of its steps."""

    phase: Phase
    compile_seconds: float = 0.0
    flops: float | None = None
    steps: list[float] = dataclasses.field(default_factory=list)
    warm: list[float] = dataclasses.field(default_factory=list)
    """Steps of calls after the first of their program, which pays for its loading too."""

    @property
    def median(self) -> float | None:
        """Median seconds a step."""
        times = self.warm or self.steps
        return statistics.median(times) if times else None


class Timings:
    """Collects times while a run goes on."""

    def __init__(self):
        self.phases: list[PhaseTimes] = []
        self.known: dict[int, Program] = {}

    def enter(self, phase: Phase) -> None:
        """What follows belongs to this phase."""
        if not self.phases or self.phases[-1].phase is not phase:
            self.phases.append(PhaseTimes(phase))

    def add(self, program: Program, seconds: float, steps: int) -> None:
        """A call of a program that ran some steps."""
        now, new = self.phases[-1], id(program) not in self.known
        if new:
            self.known[id(program)] = program
            now.compile_seconds += program.seconds
        now.flops = flops_of(program.call) if now.flops is None else now.flops
        now.steps.extend([seconds / steps] * steps)
        if not new:
            now.warm.extend([seconds / steps] * steps)

    @property
    def compile_seconds(self) -> float:
        """Seconds of compilation of all programs that the run used."""
        return sum(known.seconds for known in self.known.values())

    @property
    def step_seconds_median(self) -> float | None:
        """Median seconds a step over all phases."""
        times = [t for p in self.phases for t in p.warm] or [
            t for p in self.phases for t in p.steps
        ]
        return statistics.median(times) if times else None

    @property
    def flops(self) -> float | None:
        """FLOPs of a step, as compiled: the mean over the steps of all phases."""
        counted = [(p.flops, len(p.steps)) for p in self.phases if p.flops is not None]
        steps = sum(n for _, n in counted)
        return sum(f * n for f, n in counted) / steps if steps else None

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values: an entry a phase."""
        return [
            {
                'start': p.phase.start,
                'steps': len(p.steps),
                'cut': p.phase.cut,
                'params_trainable': p.phase.size(trainable_only=True),
                'compile_seconds': p.compile_seconds,
                'step_seconds_median': p.median,
                'step_flops': p.flops,
            }
            for p in self.phases
        ]
