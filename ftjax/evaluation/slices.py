"""A metric on parts of a split, and which parts are worse than the rest."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ftjax.evaluation.ratio import Ratio

FEWEST = 5
"""Units of a part that is looked at."""
MOST = 12
"""Parts of one column that are looked at: the largest."""
_PARTS = 4
"""Parts that a column of numbers is cut into, of about equal size."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """One part of a split.

    Attributes:
      column: what the split is parted by.
      level: which part.
      n: its units.
      value: the metric on it; None where it is undefined.
      interval: at 95 % for all parts together (Bonferroni); None where there is none.
      p: that the part is as the rest of the split, times the number of parts looked at.
      rest: the metric on the rest of the split.
    """

    column: str
    level: str
    n: int
    value: float | None
    interval: tuple[float, float] | None
    p: float | None
    rest: float | None

    def worse(self, sign: int, alpha: float = 0.05) -> bool:
        """Whether it is worse than the rest; `sign` is that of the metric."""
        if self.p is None or self.value is None or self.rest is None:
            return False
        return self.p < alpha and sign * (self.value - self.rest) < 0


def slices(ratio: Ratio, columns: Mapping[str, Sequence[object] | np.ndarray]) -> list[Slice]:
    """The metric on every part of every column, corrected for the number of parts.

    Args:
      ratio: the metric, unit by unit.
      columns: name to a text or a number of each unit. Numbers are cut at their quartiles unless
        they have few values. Empty texts and NaN are of no part.
    """
    found = [
        (column, level, where)
        for column, values in columns.items()
        for level, where in parts_of(np.asarray(values))
        if FEWEST <= where.sum() < len(where)
    ]
    made = []
    for column, level, where in found:
        part, rest = ratio.of(where), ratio.of(~where)
        p = part.p_against(rest)
        made.append(
            Slice(
                column,
                level,
                int(where.sum()),
                part.value,
                part.interval(1 - 0.05 / len(found)),
                None if p is None else min(1.0, p * len(found)),
                rest.value,
            )
        )
    return made


def parts_of(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, bool (n,)) of the parts of a column.

    >>> [(name, int(where.sum())) for name, where in parts_of(np.array(['b', 'a', 'b', '']))]
    [('b', 2), ('a', 1)]
    >>> [name for name, _ in parts_of(np.arange(40.0))]
    ['0 to 9.75', '9.75 to 19.5', '19.5 to 29.2', '29.2 to 39']
    """
    if values.dtype.kind not in 'biuf':
        names, place, counts = np.unique(
            np.asarray(values, object).astype(str), return_inverse=True, return_counts=True
        )
        largest = [i for i in np.argsort(-counts, kind='stable') if names[i]][:MOST]
        yield from ((str(names[i]), place == i) for i in largest)
        return
    numbers = values.astype(np.float64)
    known = numbers[np.isfinite(numbers)]
    levels = np.unique(known)
    if len(levels) <= _PARTS:
        yield from ((f'{level:.6g}', numbers == level) for level in levels)
        return
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _PARTS + 1)))
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (numbers >= low) & ((numbers < high) | (index == len(edges) - 2))
        yield f'{low:.3g} to {high:.3g}', inside & (numbers <= high)
