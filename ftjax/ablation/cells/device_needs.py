"""What the runs of an arm hold on a device, by the forecast of their own plan."""

from __future__ import annotations

import dataclasses
import math

import jax

from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.engines.engine import Work
from ftjax.ablation.engines.placement import Need
from ftjax.config import merged
from ftjax.freezing.plan.phase import Phase
from ftjax.runs.before_training.memory_plan import run_memory
from ftjax.runs.run_spec import run_spec
from ftjax.training.cost.memory import Memory, least_memory, step_memory, validation_memory
from ftjax.training.cost.memory_limit import read_size
from ftjax.training.feature_cache.compute import Passed, nested
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec


@dataclasses.dataclass(frozen=True)
class DeviceNeeds:
    """See `placement.Needs`: of the arms of a runner."""

    runner: CellRunner

    @property
    def memory(self) -> int | None:
        """See Needs."""
        said = self.runner.settings.device_memory
        return read_size(said, 'config.ablation.device_memory') if said else None

    def by_hand(self, arm: str) -> float | None:
        """See Needs."""
        return self.runner.settings.devices_of(arm)

    def meshed(self, arm: str) -> int:
        """See Needs."""
        mesh = self.runner.config_of(arm, None, self.runner.settings.draws[0]).mesh
        return math.prod(mesh.values()) if mesh else 0

    def networkless(self, arm: str) -> bool:
        """See Needs."""
        baseline = self.runner.baseline(arm)
        return baseline is not None and not baseline.network

    def on(self, fsdp: int) -> Work:
        """See Needs."""
        runner = type(self.runner)(
            merged(self.runner.values, {'mesh.fsdp': fsdp}), self.runner.settings
        )
        needs = dataclasses.replace(self, runner=runner)
        return Work(runner, runner.together, needs)

    def need(self, arm: str, runs: int, limit: int | None) -> Need:
        """See Needs; what is more than `limit` from shapes alone is compiled no further."""
        settings = self.runner.settings
        rates = settings.grids.get(arm, (None,))
        prepared = self.runner.prepared(arm, rates[0], settings.draws[0])
        spec = run_spec(prepared)
        if self.runner.baseline(arm) is not None:  # the network runs forward only
            return Need(validation_memory(spec, spec.plan.at(0)).total, stored=True)
        chunk = min(spec.steps_per_call(), spec.steps)
        least = max(least_memory(spec, phase, chunk) for phase in spec.plan.phases)
        if limit is not None and least > limit:
            return Need(least)
        phase, passed = stored_phase(spec)
        if phase is None or passed is None:
            return Need(run_memory(prepared).peak)
        step = from_cut(spec, phase, passed)
        own = step.total - step.held['frozen parameters'] - step.held['batch']
        peak = max(step.total + (runs - 1) * own, validation_memory(spec, phase).total)
        return Need(peak, stored=True)


def stored_phase(spec: RunSpec) -> tuple[Phase | None, Passed | None]:
    """The only phase of a run that trains on stored features alone; None where some do not."""
    if len(spec.plan.phases) > 1 or spec.plan.choose_at:
        return None, None
    phase_state = PhaseState(spec)
    phase_state.enter(0)
    decision, passed = Sources(spec).decided(phase_state)
    return (phase_state.phase, passed) if decision.store else (None, None)


def from_cut(spec: RunSpec, phase: Phase, passed: Passed) -> Memory:
    """Of the program of a call whose batches hold what the stages before the cut pass on."""
    features = {
        path: jax.ShapeDtypeStruct((spec.batch_size, *shape.shape), shape.dtype)
        for path, shape in passed.shapes.items()
    }
    batch = {**spec.batch_shapes, 'inputs': jax.eval_shape(nested, features)}
    steps = min(spec.steps_per_call(phase.cut), spec.steps)
    return step_memory(spec, phase, steps, phase.cut, batch)
