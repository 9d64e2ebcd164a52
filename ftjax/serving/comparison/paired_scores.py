"""Two networks' scores of the same examples: the difference, and whether it can be told from 0."""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.evaluation.intervals import holding, mean_interval
from ftjax.evaluation.mcnemar import mcnemar

FEW = 10
"""Examples or groups that differ, below which the bootstrap of the difference is too narrow."""
LEVEL = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Second minus first on the same examples."""

    n: int
    difference: float
    interval: tuple[float, float] | None
    """95 %, of `mean_interval` over examples or groups; None below two."""
    differing: int
    """Examples whose scores differ, or groups that hold one."""
    first_only: int | None = None
    second_only: int | None = None
    """Examples that only the one, only the other has right; None where scores are numbers."""
    p: float | None = None
    """Of McNemar's exact test; None where scores are numbers, or examples come in groups."""

    @property
    def significant(self) -> bool | None:
        """Whether the difference is none of chance; None where too few differ to say it.

        By p where there is one, else by the interval.
        """
        if self.p is not None:
            return self.p < LEVEL
        if self.differing < FEW or self.interval is None:
            return None
        return not self.interval[0] <= 0 <= self.interval[1]


def paired_scores(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None
) -> PairedScores:
    """Compares scores (n,) of two networks, bool for right and wrong, else numbers.

    >>> one, other = np.zeros(100, bool), np.arange(100) < 4
    >>> found = paired_scores(one, other)
    >>> found.difference, found.p, found.significant
    (0.04, 0.125, False)
    """
    values = second.astype(np.float64) - first.astype(np.float64)
    # A resampling of equal values has no width, and nothing is known from one example.
    interval = mean_interval(values, groups) if len(values) > 1 else None
    whole = groups is None and first.dtype == bool and second.dtype == bool
    test = mcnemar(first, second) if whole else None
    return PairedScores(
        n=len(values),
        difference=float(values.mean()),
        interval=None if interval is None else (interval[0], interval[1]),
        differing=holding(values != 0, groups),
        first_only=None if test is None else test.first,
        second_only=None if test is None else test.second,
        p=None if test is None else test.p,
    )
