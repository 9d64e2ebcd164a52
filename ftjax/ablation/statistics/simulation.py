"""Grids whose truth is known: how often the procedure misses it, and what it finds.

Of `arms` arms, half (rounded down) differ from the reference by 3 standard deviations of the noise
and the others not at all. Cases say what the noise is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ftjax.ablation.statistics.comparison import Comparison, compare_to_reference

CASES = {
    'equal': 'normal noise, one variance',
    'unequal': 'normal noise, standard deviations log-normal with spread 0.5',
    'heavy tails': 't noise with 4 degrees of freedom',
    'a diverged run': 'as equal; one run of any arm, the reference too, is missing',
    'missing runs': 'as equal; every run is missing with a chance of a tenth',
    'a collapsed run': 'as equal; one run is 20 standard deviations off, its arm is not judged',
    'a noisy baseline': 'as equal; the last arm has 3 times the noise and is outside the prior',
    'a fixed reference': 'as equal, but each seed moves all arms by 10 standard deviations, and '
    'the reference by nothing: it has one score, and is outside the prior',
}
EFFECT = 3.0
Procedure = Callable[[np.ndarray], np.ndarray]
"""From scores (arms + 1, seeds), the reference first, to (2, arms): lows and highs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What was seen over all grids.

    Attributes:
      miss: share of grids in which one interval or more misses the true difference.
      wrong: share of grids with `better` or `worse` where there is no difference, or the contrary.
      power: share of the arms that differ whose interval leaves out 0 on the right side.
    """

    grids: int
    miss: float
    wrong: float
    power: float


def noise(case: str, arms: int, seeds: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Noise (arms + 1, seeds) of a grid, and the arm that is not judged (0: all are)."""
    shape = arms + 1, seeds
    if case == 'heavy tails':
        return rng.standard_t(4, shape) / np.sqrt(2), 0
    table = rng.standard_normal(shape)
    if case == 'unequal':
        table *= np.exp(rng.normal(0, 0.5, (arms + 1, 1)))
    elif case == 'a diverged run':
        table[rng.integers(arms + 1), rng.integers(seeds)] = np.nan
    elif case == 'missing runs':
        table[rng.random(shape) < 0.1] = np.nan
    elif case == 'a collapsed run':
        arm = int(rng.integers(1, arms + 1))
        table[arm, rng.integers(seeds)] -= 20
        return table, arm
    elif case == 'a noisy baseline':
        table[-1] *= 3
    elif case == 'a fixed reference':
        table[0] = 0
        table[1:] += 10 * rng.standard_normal(seeds)
    return table, 0


def intervals(case: str, draws: int = 1000) -> Procedure:
    """The procedure of the reports, as `measure` takes it."""

    def of(table: np.ndarray) -> np.ndarray:
        outside = {'a noisy baseline': [str(len(table) - 1)], 'a fixed reference': ['0']}
        found: Comparison = compare_to_reference(
            {str(arm): row for arm, row in enumerate(table)},
            '0',
            higher_is_better=True,
            margin=0.0,
            outside_prior=outside.get(case, []),
            draws=draws,
        )
        return np.array([(one.low, one.high) for one in found]).T

    return of


def measure(
    case: str, arms: int, seeds: int, grids: int, procedure: Procedure | None = None, seed: int = 0
) -> Rates:
    """Error rates and power over simulated grids of one size.

    Args:
      case: of CASES.
      arms: besides the reference.
      procedure: that of the reports unless given.
    """
    rng = np.random.default_rng(seed)
    procedure = procedure or intervals(case)
    truth = np.zeros(arms)
    truth[: arms // 2] = EFFECT
    miss = wrong = power = 0.0
    for _ in range(grids):
        table, spoiled = noise(case, arms, seeds, rng)
        table[1:] += truth[:, None]
        low, high = procedure(table)
        judged = np.arange(1, arms + 1) != spoiled
        miss += bool((judged & ((low > truth) | (high < truth))).any())
        wrong += bool((judged & (((low > 0) & (truth == 0)) | (high < 0))).any())
        power += float(np.mean((low > 0)[(truth > 0) & judged])) if (truth > 0).any() else 0.0
    return Rates(grids=grids, miss=miss / grids, wrong=wrong / grids, power=power / grids)
