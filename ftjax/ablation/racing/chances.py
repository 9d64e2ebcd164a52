"""What a race may expect of seeds not yet run: which rate they choose, which verdict they give.

Both are predictions of what the full grid would say, from normal noise: a mean over n seeds, of
which k are known to average m, is normal around m with variance s^2 (n - k) / (n k).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ftjax.ablation.statistics.comparison import ArmComparison

FIRST = 0.3
"""Chance of the second best rate after one seed, when nothing is known of the noise; half of it for
the third, and so on."""
LEAST_OPEN = 0.02
"""No verdict counts as more certain than 1 minus this before it is given."""

Scores = Sequence[float | None]
"""Of one rate by seed, in the order of the seeds, higher is better; None for a run that failed."""


def differences(one: Scores, other: Scores) -> list[float]:
    """One minus the other, seed by seed, where both finished."""
    pairs = zip(one, other, strict=False)
    return [a - b for a, b in pairs if a is not None and b is not None]


def noise_of_rates(arms: Sequence[Mapping[float, Scores]]) -> float | None:
    """The standard deviation over seeds of the difference of two rates of an arm.

    Pooled over all pairs of rates that have two seeds in common or more; None without any.

    >>> noise_of_rates([{0.1: [1.0, 2.0], 0.2: [1.0, 4.0]}])
    1.4142135623730951
    """
    total = degrees = 0.0
    for arm in arms:
        known = list(arm.values())
        for place, one in enumerate(known):
            for other in known[:place]:
                both = differences(one, other)
                if len(both) > 1:
                    total += float(np.var(both)) * len(both)
                    degrees += len(both) - 1
    return math.sqrt(total / degrees) if degrees else None


def chance_of_rate(rate: Scores, best: Scores, seeds: int, noise: float | None, rank: int) -> float:
    """The chance that a rate is better than the one that is ahead once all seeds are run.

    Args:
      rate: its scores; those of fewer seeds than `best` where it was left behind.
      best: of the rate that is ahead.
      seeds: of the full grid.
      noise: from `noise_of_rates`.
      rank: 0 for the second best, 1 for the third, ..

    >>> round(chance_of_rate([0.8, 0.8], [0.9, 0.9], 4, 0.1, 0), 4)
    0.0228
    """
    from scipy import special

    both = differences(rate, best)
    worse = sum(one is None and other is not None for one, other in zip(rate, best, strict=False))
    if worse or not both:
        return 0.0
    if noise is None:
        return FIRST / 2**rank
    known = len(both)
    behind = math.fsum(both) / known
    spread = noise * math.sqrt((seeds - known) / (seeds * known)) if seeds > known else 0.0
    if spread == 0.0:
        return 0.5 if behind == 0 else 0.0
    return float(special.ndtr(behind / spread))


def open_chance(one: ArmComparison, known: int, seeds: int, bound: float, margin: float) -> float:
    """The chance that the verdict with all seeds is another than the likeliest one.

    Args:
      one: the comparison after so many seeds as are known.
      known: seeds that are known.
      seeds: of the full grid.
      bound: half the width of an interval of the full grid in standard errors.
      margin: of equivalence.
    """
    from scipy import special

    if not math.isfinite(one.standard_error) or one.standard_error == 0 or seeds <= known:
        return 1.0
    half = bound * one.standard_error * math.sqrt(known / seeds)
    spread = one.standard_error * math.sqrt((seeds - known) / seeds)

    def below(place: float) -> float:
        return float(special.ndtr((place - one.difference) / spread))

    above, under = 1 - below(half), below(-half)
    within = max(0.0, below(margin - half) - below(half - margin))
    return max(LEAST_OPEN, 1 - max(above, under, within, 1 - above - under - within))
