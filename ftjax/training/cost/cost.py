"""What a step costs, from the program that the compiler made of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from ftjax.data.labels import DEFAULT_TASK, labels_of
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.plan import Plan
from ftjax.models.stages import Network
from ftjax.optim.optimizer import (
    OptimizerSettings,
    make_optimizer,
    shapes_of,
    state_bytes,
)
from ftjax.training.step.state import make_state
from ftjax.training.step.train_step import make_train_step
from ftjax.xla.cost_analysis import flops_of


@dataclasses.dataclass(frozen=True)
class StepCost:
    """FLOPs and bytes of one training step."""

    flops: float
    temporary_bytes: int
    optimizer_bytes: int


def step_cost(
    network: Network,
    variables: Any,
    plan: Plan,
    optimizer: OptimizerSettings,
    batch_size: int,
    task: str = DEFAULT_TASK,
) -> StepCost:
    """Compiles the step of the plan's first phase for shapes alone; nothing is computed.

    FLOPs are those of one of `optimizer.accumulate` parts times their number: the compiler
    counts the body of a loop once.
    """
    return phase_cost(network, variables, plan, plan.at(0), optimizer, batch_size, task)


def phase_cost(
    network: Network,
    variables: Any,
    plan: Plan,
    phase: Phase,
    optimizer: OptimizerSettings,
    batch_size: int,
    task: str = DEFAULT_TASK,
) -> StepCost:
    """As step_cost, for any phase of the plan."""
    compiled = compile_step(network, variables, plan, phase, optimizer, batch_size, task)
    return cost_of(compiled, plan, phase, optimizer)


def cost_of(compiled: Any, plan: Plan, phase: Phase, optimizer: OptimizerSettings) -> StepCost:
    """FLOPs and bytes of a compiled step."""
    tx = make_optimizer(phase, optimizer, per_leaf=plan.per_leaf)
    memory = compiled.memory_analysis()
    return StepCost(
        flops=flops_of(compiled) * optimizer.accumulate,
        temporary_bytes=int(getattr(memory, 'temp_size_in_bytes', 0)),
        optimizer_bytes=state_bytes(jax.eval_shape(tx.init, shapes_of(phase))),
    )


def compile_step(
    network: Network,
    variables: Any,
    plan: Plan,
    phase: Phase,
    optimizer: OptimizerSettings,
    batch_size: int,
    task: str = DEFAULT_TASK,
    remat: bool = False,
) -> Any:
    """The step of a phase, compiled for `(state, frozen, batch, rates)`; the state is donated."""
    tx = make_optimizer(phase, optimizer, per_leaf=plan.per_leaf)
    state, frozen = jax.eval_shape(lambda v: make_state(v, phase, tx, optimizer.ema), variables)
    inputs = jax.eval_shape(lambda: network.example_input(batch_size))
    labels, mask = labels_of(task).shapes(batch_size, network.num_classes, inputs)
    batch = {'inputs': inputs, 'labels': labels, 'mask': mask}
    rates = jax.ShapeDtypeStruct((len(phase.trainable),), np.float32)
    regularisers = plan.of_kind('regulariser')
    if regularisers:
        shapes = flatten_dict(dict(variables['params']), sep='/')
        frozen = frozen.replace(reference={path: shapes[path] for path in phase.trainable})
    step = make_train_step(
        network,
        phase,
        optimizer,
        task=task,
        remat=remat,
        regularisers=regularisers,
        unregularised=plan.new_leaves,
        tx=tx,
    )
    return jax.jit(step, donate_argnums=0).lower(state, frozen, batch, rates).compile()


@dataclasses.dataclass(frozen=True)
class PlanCost:
    """What a plan costs: FLOPs of the mean step, bytes of the dearest phase."""

    phases: tuple[tuple[Phase, StepCost], ...]
    flops: float
    temporary_bytes: int
    optimizer_bytes: int


def plan_cost(
    network: Network,
    variables: Any,
    plan: Plan,
    optimizer: OptimizerSettings,
    batch_size: int,
    steps: int,
    task: str = DEFAULT_TASK,
) -> PlanCost:
    """Compiles the step of every phase for shapes alone; phases of one program share it."""
    known: dict[Any, StepCost] = {}
    for phase in plan.phases:
        if phase.program not in known:
            known[phase.program] = phase_cost(
                network, variables, plan, phase, optimizer, batch_size, task
            )
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


def forward_flops(network: Network, variables: Any, batch_size: int) -> float:
    """FLOPs of the forward pass alone, compiled for shapes."""
    inputs = jax.eval_shape(lambda: network.example_input(batch_size))
    return flops_of(jax.jit(network.apply).lower(variables, inputs).compile())
