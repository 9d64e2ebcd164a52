"""Shapes of the rate over time that belong to a published recipe.

A shape is a function (step, total, **parameters) -> share of the peak rate; it stands in for
`config.schedule`.
"""

from __future__ import annotations

from ftjax.freezing.registry import strategy
from ftjax.ranges import at_least, between


@strategy(
    'stlr',
    'shape',
    cut=0.1,
    ratio=32.0,
    source='ULMFiT, arXiv:1801.06146',
    ranges={'cut': between(0, 1), 'ratio': at_least(1)},
)
def stlr(step: int, total: int, cut: float, ratio: float) -> float:
    """Slanted triangle: up for a share `cut` of the steps, then down to 1/ratio of the peak.

    >>> [round(stlr(step, 100, 0.1, 32.0), 4) for step in (0, 10, 55, 100)]
    [0.0312, 1.0, 0.5156, 0.0312]
    """
    turn = max(int(total * cut), 1)
    done = step / turn if step < turn else 1 - (step - turn) / max(total - turn, 1)
    return (1 + done * (ratio - 1)) / ratio
