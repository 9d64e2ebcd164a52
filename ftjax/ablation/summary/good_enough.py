"""Arms that give up little, and what they save: read off a summary's own intervals."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Summary

COSTS = (
    ('step_seconds', 'time of a step'),
    ('step_bytes', 'device memory'),
    ('optimizer_bytes', 'optimizer state'),
)
"""(key of an arm, in words): what an arm costs; the first decides which is cheapest."""


def is_as_good(arm: Summary, margin: float, higher_is_better: bool) -> bool:
    """Whether the interval of the difference holds no loss of the margin or more."""
    interval = arm['difference']['interval']
    if interval['low'] is None:
        return False
    return interval['low'] > -margin if higher_is_better else interval['high'] < margin


def cost_against(arm: Summary, reference: Summary, key: str) -> float | None:
    """A cost as a share of the reference's; None where either is not known."""
    own, whole = arm.get(key), reference.get(key)
    return own / whole if own is not None and whole else None


def price(arm: Summary) -> tuple[float, ...]:
    """Costs to order arms by; infinite where one is not known."""
    return tuple(float('inf') if arm.get(key) is None else arm[key] for key, _ in COSTS)
