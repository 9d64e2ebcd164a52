"""Backward passes that run as far as the rates of a step ask for, and no further.

A program is compiled for the leaves that it trains. A strategy that tries one set of leaves after
the other would spend its time in the compiler; here one program serves them all: rates of 0 hold
what is frozen, and each stage decides while the step runs how much of its backward pass it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.freezing.plan.phase import PhaseProgram
from ftjax.models.shared_leaves import used_by
from ftjax.models.stages import Network
from ftjax.pytrees import Flat, Inputs

NOTHING, INPUTS, ALL = 0, 1, 2
"""What of a stage's backward pass is wanted: gradients of its inputs, and of its leaves too."""


def wanted_at(network: Network, phase: PhaseProgram, rates: jax.Array) -> dict[str, jax.Array]:
    """By stage, what its backward pass has to find at a step: int32 scalars.

    `rates` is (trainable leaves,).
    """
    positions = {path: number for number, path in enumerate(phase.trainable)}
    found, before = {}, jnp.zeros((), bool)
    for name in phase.modes:
        own = list(used_by(network.ties, name, positions).values())
        moves = (rates[jnp.array(own)] > 0).any() if own else jnp.zeros((), bool)
        found[name] = jnp.where(moves, ALL, jnp.where(before, INPUTS, NOTHING))
        before |= moves
    return found


def where_wanted(
    stage: Callable[..., object], wanted: jax.Array, first: bool
) -> Callable[..., Any]:
    """`stage(trainable, others, inputs)`, of whose backward pass only what is wanted runs.

    Args:
      stage: gives (outputs, what has no gradient).
      wanted: NOTHING, INPUTS or ALL.
      first: whether nothing that trains lies before the stage: its inputs need no gradient.
    """

    def run(trainable: Flat, others: object, inputs: Inputs) -> Any:
        leaves, tree = jax.tree.flatten(inputs)
        floats = [jnp.issubdtype(x.dtype, jnp.inexact) and not first for x in leaves]
        passed = {n: x for n, x in enumerate(leaves) if floats[n]}
        fixed = {n: x for n, x in enumerate(leaves) if not floats[n]}

        def of(trainable: Flat, passed: Any, fixed: Any, others: Any) -> Any:
            both = {**passed, **fixed}
            return stage(trainable, others, tree.unflatten([both[n] for n in sorted(both)]))

        return as_wanted(of)(wanted, trainable, passed, fixed, others)

    return run


def as_wanted(function: Callable[..., object]) -> Callable[..., Any]:
    """`run(wanted, trainable, passed, fixed, others)`: the function of all arguments but the first.

    It has gradients with respect to `trainable` and `passed`.
    """

    @jax.custom_vjp
    def run(wanted: jax.Array, *given: object) -> Any:
        return function(*given)

    def forward(wanted: jax.Array, trainable: Flat, passed: object, *constants: object):
        def of(trainable: Flat, passed: Any) -> Any:
            return function(trainable, passed, *constants)

        outputs, pullback, also = jax.vjp(of, trainable, passed, has_aux=True)
        return (outputs, also), (wanted, pullback, trainable, passed)

    def backward(saved: Any, cotangents: Any):
        wanted, pullback, *given = saved

        def nothing(pullback: object, arriving: object) -> Any:
            return tuple(jax.tree.map(jnp.zeros_like, given))

        def inputs(pullback: Any, arriving: object) -> Any:
            return nothing(pullback, arriving)[0], pullback(arriving)[1]

        def everything(pullback: Any, arriving: object) -> object:
            return pullback(arriving)

        branches = nothing, inputs, everything  # as NOTHING, INPUTS and ALL count
        found = jax.lax.switch(wanted, branches, pullback, cotangents[0])
        return None, *found, None, None

    run.defvjp(forward, backward)
    return run
