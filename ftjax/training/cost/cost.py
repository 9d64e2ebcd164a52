"""What a step costs, from the program that the compiler made of it."""

from __future__ import annotations

import dataclasses

import jax

from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.predict import Forward
from ftjax.freezing.plan.phase import Phase, PhaseProgram
from ftjax.optim.optimizer import shapes_of, state_bytes
from ftjax.training.cost.memory import step_arguments
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla.cost_analysis import flops_of


@dataclasses.dataclass(frozen=True)
class StepCost:
    """FLOPs and bytes of one training step."""

    flops: float
    temporary_bytes: int
    optimizer_bytes: int


def phase_cost(spec: RunSpec, phase: Phase) -> StepCost:
    """Of the step of a phase, compiled for shapes alone; nothing is computed.

    FLOPs are those of one of `optimizer.accumulate` parts times their number, because the compiler
    counts the body of a loop once, and those of all devices together. Bytes are of one device.
    """
    return cost_of(compile_step(spec, phase), spec, phase)


def cost_of(compiled: jax.stages.Compiled, spec: RunSpec, phase: Phase) -> StepCost:
    """FLOPs and bytes of a compiled step."""
    step, memory = spec.train_step(phase), compiled.memory_analysis()
    return StepCost(
        flops=flops_of(compiled) * spec.counted_once,
        temporary_bytes=int(getattr(memory, 'temp_size_in_bytes', 0)),
        optimizer_bytes=state_bytes(jax.eval_shape(step.tx.init, shapes_of(phase))),
    )


def compile_step(spec: RunSpec, phase: Phase) -> jax.stages.Compiled:
    """The step of a phase, compiled for `(state, frozen, batch, rates)`; the state is donated."""
    _, (state, frozen, batch, rates, _) = step_arguments(spec, phase)
    places = None
    if spec.sharding.devices > 1:
        places = spec.sharding.of_state(state), spec.sharding.whole
    step = jax.jit(spec.train_step(phase), donate_argnums=0, out_shardings=places)
    return step.lower(state, frozen, batch, rates).compile()


@dataclasses.dataclass(frozen=True)
class PlanCost:
    """What a plan costs: FLOPs of the mean step, bytes of the dearest phase."""

    phases: tuple[tuple[Phase, StepCost], ...]
    flops: float
    temporary_bytes: int
    optimizer_bytes: int


def plan_cost(spec: RunSpec, steps: int | None = None) -> PlanCost:
    """Compiles the step of every phase for shapes alone; phases of one program share it.

    `steps` are those of the run, if the spec has no data to tell.
    """
    plan, steps = spec.plan, spec.steps if steps is None else steps
    known: dict[PhaseProgram, StepCost] = {}
    for phase in plan.phases:
        if phase.program not in known:
            known[phase.program] = phase_cost(spec, phase)
    costs = [known[phase.program] for phase in plan.phases]
    ends = [*(phase.start for phase in plan.phases[1:]), max(steps, plan.phases[-1].start + 1)]
    lengths = [end - phase.start for phase, end in zip(plan.phases, ends, strict=True)]
    flops = sum(cost.flops * n for cost, n in zip(costs, lengths, strict=True)) / sum(lengths)
    return PlanCost(
        tuple(zip(plan.phases, costs, strict=True)),
        flops,
        max(cost.temporary_bytes for cost in costs),
        max(cost.optimizer_bytes for cost in costs),
    )


def forward_flops(spec: RunSpec) -> float:
    """FLOPs of the forward pass of a training batch alone, compiled for shapes."""
    run = Forward(spec.network, spec.preprocessing, None, Sharding())
    compiled = jax.jit(run).lower(spec.variables, spec.batch_shapes['inputs']).compile()
    return flops_of(compiled)
