"""A metric as a sum over units divided by another: of any part of a split, with its interval."""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.evaluation.intervals import ratio_interval, units, wilson_interval
from ftjax.evaluation.metric import Metric


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The sum of `above` over the sum of `below`: accuracy, mean error, F1, loss a token.

    Attributes:
      metric: how the ratio is called, and which direction is better.
      above: (n,) of each unit.
      below: (n,) of each unit; ones for a mean over units.
    """

    metric: Metric
    above: np.ndarray
    below: np.ndarray

    def __len__(self) -> int:
        return len(self.above)

    @property
    def counts(self) -> bool:
        """Whether it is the share of units that have something."""
        return bool(np.isin(self.above, (0, 1)).all() and (self.below == 1).all())

    @property
    def hits(self) -> int | None:
        """Of a share the units that have something; None of another ratio.

        Where all units are perfect, or none has anything, they have no spread and are counted
        too, whatever their size.
        """
        if self.counts:
            return int(self.above.sum())
        if self.metric.bounds == (0, 1) and self.value in (0, 1) and not self.residuals.any():
            return int(self.value or 0) * len(self)
        return None

    def of(self, where: np.ndarray) -> Ratio:
        """The ratio over some of the units; `where` is bool or positions."""
        return dataclasses.replace(self, above=self.above[where], below=self.below[where])

    def summed(self, groups: np.ndarray | None) -> Ratio:
        """The same ratio with groups (n,) as its units: what was drawn independently."""
        sums = units(np.column_stack([self.above, self.below]), groups)
        return dataclasses.replace(self, above=sums[:, 0], below=sums[:, 1])

    @property
    def value(self) -> float | None:
        """The ratio; None where there is nothing to divide by."""
        below = float(self.below.sum())
        return float(self.above.sum()) / below if below else None

    @property
    def residuals(self) -> np.ndarray:
        """What each unit adds to the error of the ratio, (n,): their mean is 0."""
        return self.above - (self.value or 0.0) * self.below

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Wilson's of a share; else as `ratio_interval`, which may be None.

        >>> mean = Ratio(Metric(name='x'), np.array([1.0, 2.0, 4.0]), np.ones(3))
        >>> low, high = mean.interval()
        >>> round(low, 3), round(high, 3)
        (-1.461, 6.128)
        """
        if self.value is None:
            return None
        if self.hits is not None:
            return wilson_interval(self.hits, len(self), confidence)
        bounded = self.metric.bounds == (0, 1)
        ends = ratio_interval(self.above, self.below, confidence, bounded)
        return (
            None if ends is None else (self.metric.clipped(ends[0]), self.metric.clipped(ends[1]))
        )

    def p_against(self, other: Ratio) -> float | None:
        """Two-sided p value that two parts have one ratio: Fisher's exact test, or Welch's t.

        None where it cannot be tested: a part of one unit.
        """
        from scipy import stats

        if not len(self) or not len(other):
            return None
        hits = self.hits, other.hits
        if hits[0] is not None and hits[1] is not None:
            misses = [len(self) - hits[0], len(other) - hits[1]]
            return float(stats.fisher_exact([hits, misses]).pvalue)
        below = float(self.below.sum() + other.below.sum())
        if min(len(self), len(other)) < 2 or not below:
            return None
        pooled = float(self.above.sum() + other.above.sum()) / below
        one, two = (part.above - pooled * part.below for part in (self, other))
        if np.ptp(one) == 0 and np.ptp(two) == 0:
            return 1.0 if one[0] == two[0] else 0.0
        # From means and deviations: of values without spread the other form warns.
        told = [(part.mean(), part.std(ddof=1), len(part)) for part in (one, two)]
        return float(stats.ttest_ind_from_stats(*told[0], *told[1], equal_var=False).pvalue)
