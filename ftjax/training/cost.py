"""What a step costs, from the program that the compiler made of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.freezing.optimizer import (
    OptimizerSettings,
    make_optimizer,
    shapes_of,
    state_bytes,
)
from ftjax.freezing.plan import Plan
from ftjax.models.stages import Network
from ftjax.training.state import make_state
from ftjax.training.step import make_train_step


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
    task: str = 'classification',
) -> StepCost:
    """Compiles the step of the plan's first phase for shapes alone; nothing is computed.

    FLOPs are those of one of `optimizer.accumulate` parts times their number: the compiler
    counts the body of a loop once.
    """
    phase = plan.at(0)
    tx = make_optimizer(phase, optimizer)
    state, frozen = jax.eval_shape(lambda v: make_state(v, phase, tx, optimizer.ema), variables)
    inputs = jax.eval_shape(lambda: network.example_input(batch_size))
    labels = jnp.int32 if task == 'classification' else jnp.float32
    batch = {
        'inputs': inputs,
        'labels': jax.ShapeDtypeStruct((batch_size,), labels),
        'mask': jax.ShapeDtypeStruct((batch_size,), jnp.float32),
    }
    rates = jax.ShapeDtypeStruct((len(phase.trainable),), np.float32)
    step = make_train_step(network, phase, optimizer, task=task)
    compiled = jax.jit(step, donate_argnums=0).lower(state, frozen, batch, rates).compile()
    memory = compiled.memory_analysis()
    return StepCost(
        flops=flops_of(compiled) * optimizer.accumulate,
        temporary_bytes=int(getattr(memory, 'temp_size_in_bytes', 0)),
        optimizer_bytes=state_bytes(jax.eval_shape(tx.init, shapes_of(phase))),
    )


def forward_flops(network: Network, variables: Any, batch_size: int) -> float:
    """FLOPs of the forward pass alone, compiled for shapes."""
    inputs = jax.eval_shape(lambda: network.example_input(batch_size))
    return flops_of(jax.jit(network.apply).lower(variables, inputs).compile())


def flops_of(compiled: Any) -> float:
    """FLOPs that the compiler counts in a program, a loop's body once; NaN where it does not."""
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, (list, tuple)) else costs
    return float(costs.get('flops', math.nan))
