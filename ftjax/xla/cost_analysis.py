"""What XLA says of a compiled program."""

from __future__ import annotations

import math
from typing import Any


def flops_of(compiled: Any) -> float:
    """FLOPs that the compiler counts in a program, a loop's body once; NaN where it does not."""
    costs = compiled.cost_analysis() or {}
    costs = costs[0] if isinstance(costs, (list, tuple)) else costs
    return float(costs.get('flops', math.nan))
