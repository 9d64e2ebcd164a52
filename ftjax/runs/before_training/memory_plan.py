"""The device memory of a whole run, before it starts: what it peaks at, and whether it fits."""

from __future__ import annotations

import dataclasses

from ftjax.errors import UserError
from ftjax.freezing.plan.phase import Phase
from ftjax.io.process.host_memory import shown_size
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_spec import run_spec
from ftjax.training.cost.memory import (
    Memory,
    least_memory,
    step_memory,
    validation_memory,
)


@dataclasses.dataclass(frozen=True)
class RunMemory:
    """What the programs of a run take on one device, as compiled."""

    phases: tuple[tuple[Phase, Memory], ...]
    validation: Memory
    """In the phase that leaves most on the device."""
    steps: int
    """Of one call."""

    @property
    def largest(self) -> Memory:
        """Of the dearest phase."""
        return max((memory for _, memory in self.phases), key=lambda memory: memory.total)

    @property
    def peak(self) -> int:
        """Bytes of the whole run at its highest."""
        return max(self.largest.total, self.validation.total)

    def table(self) -> str:
        """What holds how much, as lines for people."""
        rows = {**self.largest.rows, 'a training step': self.largest.total}
        rows['validation, all of it'] = self.validation.total
        wide = max(map(len, rows))
        lines = [f'  {name:{wide}}  {shown_size(n):>12}' for name, n in rows.items()]
        calls = f'{self.steps} steps a call' if self.steps > 1 else 'one step a call'
        return '\n'.join(
            [f'memory on the device, as compiled for {calls}:', *lines, f'peak: {self.said}']
        )

    @property
    def said(self) -> str:
        """The peak in words."""
        return shown_size(self.peak)


def run_memory(prepared: Prepared) -> RunMemory:
    """Compiles the programs of a run for shapes and asks the compiler; nothing is allocated.

    A run that stores features, and so starts its steps at the cut, takes less than this.
    """
    spec = run_spec(prepared)
    chunk = min(spec.steps_per_call(), spec.steps)
    known: dict[object, Memory] = {}
    phases = []
    for phase in spec.plan.phases:
        if phase.program not in known:
            known[phase.program] = step_memory(spec, phase, chunk)
        phases.append((phase, known[phase.program]))
    heaviest = max(phases, key=lambda found: found[1].resident)[0]
    return RunMemory(tuple(phases), validation_memory(spec, heaviest), chunk)


def refuse_what_cannot_fit(prepared: Prepared, limit: int | None) -> None:
    """UserError if arguments and gradients of some phase alone are more than there is.

    It takes shapes and a moment; what it lets pass may still be too much, which run_memory
    would tell.
    """
    if limit is None:
        return
    spec = run_spec(prepared)
    chunk = min(spec.steps_per_call(), spec.steps)
    least = max(least_memory(spec, phase, chunk) for phase in spec.plan.phases)
    if least > limit:
        raise UserError(
            f'the run cannot fit: parameters, optimizer state, gradients and a batch alone take '
            f'{shown_size(least)} of {shown_size(limit)} on the device; scripts/plan.py with the '
            'same config says what would fit'
        )
