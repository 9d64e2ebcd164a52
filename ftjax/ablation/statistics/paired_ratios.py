"""Networks compared on the same test examples: differences whose intervals hold together.

A metric that is a ratio of sums over units (accuracy, mean error, F1) moves with each unit by its
influence; what two networks share of it leaves their difference. The covariance of all differences
gives standard errors, and the quantile of the largest |t| that intervals need so that all of them
hold (single step). With groups a unit is a group. They cover the choice of test examples, not that
of training examples or seeds.

Sources: Cochran 1977, Sampling Techniques, section 6.4, of ratios; Agresti and Min 2005, Statistics
in Medicine 24, 729-740, of two shares on the same examples: a half is added to each cell of their
table, so that networks that never differ are not told to be equal exactly; Hothorn, Bretz and
Westfall 2008, Biometrical Journal 50, 346-363, of the simultaneous intervals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.ablation.statistics.comparison import judged
from ftjax.errors import UserError, check_name
from ftjax.evaluation.intervals import units
from ftjax.evaluation.mcnemar import mcnemar
from ftjax.evaluation.ratio import Ratio

DRAWS = 20_000
"""From which the critical value is read, the same in every call."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """A network minus the reference, on the same examples.

    Attributes:
      low, high: holds together with those of all others; infinite below two units.
      verdict: better, worse, equivalent (within the margin) or undecided, from the interval.
      p: of McNemar's exact test, of this pair alone; None where the metric is no share.
    """

    difference: float
    low: float = -float('inf')
    high: float = float('inf')
    verdict: str = 'undecided'
    p: float | None = None


def differences_to(
    ratios: Mapping[str, Ratio],
    reference: str,
    *,
    margin: float,
    groups: np.ndarray | None = None,
    alpha: float = 0.05,
) -> dict[str, PairedDifference]:
    """Every network but the reference, compared with it.

    Args:
      ratios: of each network, over the same units in the same order.
      reference: that the others are compared to.
      margin: differences up to this one do not matter.
      groups: what each unit belongs to (n,); None for independent units.
      alpha: chance that one interval or more misses.

    Raises:
      UserError: an unknown reference, other numbers of units, a ratio of nothing.

    >>> from ftjax.evaluation.metric import share
    >>> draw = np.random.default_rng(0)
    >>> good, bad = (draw.random(400) < 0.9).astype(float), (draw.random(400) < 0.6).astype(float)
    >>> of = {n: Ratio(share('accuracy'), x, np.ones(400)) for n, x in (('a', good), ('b', bad))}
    >>> differences_to(of, 'a', margin=0.01)['b'].verdict
    'worse'
    """
    check_name(reference, ratios, 'reference network')
    first = ratios[reference]
    values = {name: ratio.value for name, ratio in ratios.items()}
    for name, ratio in ratios.items():
        if len(ratio) != len(first):
            raise UserError(f'{name} has {len(ratio)} units, {reference} {len(first)}')
        if values[name] is None:
            raise UserError(f'{name}: the metric is not defined on these examples')
    names = [name for name in ratios if name != reference]
    moves = np.column_stack(
        [_influence(ratios[name]) - _influence(first) for name in names] or [()]
    )
    moves = units(moves, groups)
    errors, n = np.zeros(len(names)), len(moves)
    if n > 1 and names:
        # A ratio's influences are divided by the number of units, also where these are groups.
        errors = np.sqrt(n * moves.var(axis=0, ddof=1)) / len(first)
    critical = _critical(moves, alpha)
    found = {}
    for column, name in enumerate(names):
        ratio, difference = ratios[name], _number(values[name]) - _number(values[reference])
        fields: dict[str, Any] = {'difference': difference}
        if n > 1:
            error, middle = errors[column], difference
            if ratio.counts and first.counts:
                matched, middle = _matched_shares(ratio.above - first.above)
                error = max(error, matched)
            around = judged(middle, critical * error, margin, first.metric.higher_is_better)
            fields |= around | {'difference': difference}
        if ratio.counts and first.counts:
            fields['p'] = mcnemar(ratio.above == 1, first.above == 1).p if groups is None else None
        found[name] = PairedDifference(**fields)
    return found


def _influence(ratio: Ratio) -> np.ndarray:
    return ratio.residuals / ratio.below.mean()


def _matched_shares(signs: np.ndarray) -> tuple[float, float]:
    """(standard error, difference) of two shares on the same examples, a half in each cell."""
    n, more, fewer = len(signs) + 2.0, (signs > 0).sum() + 0.5, (signs < 0).sum() + 0.5
    difference = (more - fewer) / n
    return float(np.sqrt(((more + fewer) / n - difference**2) / n)), float(difference)


def _critical(moves: np.ndarray, alpha: float) -> float:
    """What the largest |t| of all differences exceeds with chance alpha."""
    n, count = moves.shape
    if n < 2 or not count:
        return float('inf')
    spread = moves.std(axis=0, ddof=1)
    scaled = (moves - moves.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    scaled[:, spread == 0] = 0.0
    correlation = scaled.T @ scaled / (n - 1)
    correlation[np.diag_indices(count)] = 1.0
    draw = np.random.default_rng(11)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = draw.standard_normal((DRAWS, count)) @ root.T
    chi = np.sqrt(draw.chisquare(n - 1, DRAWS) / (n - 1))
    return float(np.quantile(np.abs(normal).max(axis=1) / chi, 1 - alpha))


def _number(value: float | None) -> float:
    assert value is not None
    return value
