"""What XLA says of a compiled program."""

from __future__ import annotations

import math

import jax


def flops_of(compiled: jax.stages.Compiled) -> float:
    """FLOPs that the compiler counts in a program, a loop's body once; NaN where it does not."""
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, (list, tuple)) else costs
    return float(costs.get('flops', math.nan))


def bytes_of(compiled: jax.stages.Compiled) -> int | None:
    """Device memory in bytes while a program runs: arguments, results and temporary values.

    What is donated counts once. None where the compiler does not say.
    """
    found = compiled.memory_analysis()
    if found is None:
        return None
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return int(found.argument_size_in_bytes + results + found.temp_size_in_bytes)
