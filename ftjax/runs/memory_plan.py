"""The device memory of a whole run, before it starts: what it peaks at, and whether it fits."""

from __future__ import annotations

import dataclasses
import math

from ftjax.data import TrainStream, eval_batches
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError
from ftjax.freezing.plan.phase import Phase
from ftjax.runs.prepare import Prepared
from ftjax.training.cost.memory import (
    Memory,
    batch_shapes,
    least_memory,
    step_memory,
    validation_memory,
)
from ftjax.training.cost.memory_limit import shown_size
from ftjax.training.step.multi_step import longest_chunk
from ftjax.training.step.phase_state import PhaseState, StepSettings


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


def planned(prepared: Prepared) -> tuple[PhaseState, TrainStream, int]:
    """The phase state of a run before its first step, its batches, and how many a call takes."""
    config, plan = prepared.config, prepared.plan
    data, settings = config.data, config.train
    stream = TrainStream(
        prepared.data.train,
        data.batch_size,
        config.seed,
        data.image_size,
        prepared.preprocessing,
        data.augment,
    )
    every = settings.every(stream.steps_per_epoch)
    chunk = longest_chunk(
        math.gcd(every, *plan.boundaries),
        settings.calls(prepared.network, prepared.variables['params']),
    )
    phase_state = PhaseState(
        prepared.network,
        prepared.variables,
        plan,
        config.optimizer,
        StepSettings(
            prepared.preprocessing,
            data.augment,
            prepared.data.train.task,
            settings.label_smoothing,
            settings.remat,
        ),
        config.seed,
        Sharding.of(config.mesh, config.mesh_rules),
    )
    return phase_state, stream, min(chunk, settings.total(stream.steps_per_epoch))


def run_memory(prepared: Prepared) -> RunMemory:
    """Compiles the programs of a run for shapes and asks the compiler; nothing is allocated.

    A run that stores features, and so starts its steps at the cut, takes less than this.
    """
    phase_state, stream, chunk = planned(prepared)
    batch = batch_shapes(stream.loader, stream.batch_size)
    known: dict[object, Memory] = {}
    phases = []
    for phase in prepared.plan.phases:
        if phase.program not in known:
            known[phase.program] = step_memory(phase_state, phase, batch, chunk)
        phases.append((phase, known[phase.program]))
    heaviest = max(phases, key=lambda found: found[1].resident)[0]
    data = prepared.config.data
    held = eval_batches(
        prepared.data.val, data.eval_batch_size, data.image_size, prepared.preprocessing
    )
    inside = validation_memory(phase_state, heaviest, batch_shapes(held.loader, held.batch_size))
    return RunMemory(tuple(phases), inside, chunk)


def refuse_what_cannot_fit(prepared: Prepared, limit: int | None) -> None:
    """UserError if arguments and gradients of some phase alone are more than there is.

    It takes shapes and a moment; what it lets pass may still be too much, which run_memory
    would tell.
    """
    if limit is None:
        return
    phase_state, stream, chunk = planned(prepared)
    batch = batch_shapes(stream.loader, stream.batch_size)
    least = max(least_memory(phase_state, phase, batch, chunk) for phase in prepared.plan.phases)
    if least > limit:
        raise UserError(
            f'the run cannot fit: parameters, optimizer state, gradients and a batch alone take '
            f'{shown_size(least)} of {shown_size(limit)} on the device; scripts/plan.py with the '
            'same config says what would fit'
        )
