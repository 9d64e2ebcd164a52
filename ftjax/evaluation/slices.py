"""A metric on parts of a split, and which parts are worse than the rest."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ftjax.evaluation.ratio import Ratio

FEWEST = 5
"""Examples of a part that is looked at, and groups of one that is tested."""
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
      n: its examples.
      value: the metric on it; None where it is undefined.
      interval: at 95 % for all tested parts together (Bonferroni); None where there is none.
      p: that the part is as the rest of the split, times the number of tested parts.
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


def slices(
    ratio: Ratio,
    columns: Mapping[str, Sequence[object] | np.ndarray],
    groups: np.ndarray | None = None,
) -> list[Slice]:
    """The metric on every part of every column, corrected for the number of parts.

    Args:
      ratio: the metric, example by example.
      columns: name to a text or a number of each example. Numbers are cut at their quartiles
        unless they have few values. Empty texts and NaN are of no part.
      groups: (n,) what each example belongs to; None where examples are independent. A part is
        tested where it and the rest have `FEWEST` groups; one group in both counts in both.
    """
    found = [
        (column, level, where)
        for column, values in columns.items()
        for level, where in parts_of(np.asarray(values))
        if FEWEST <= where.sum() < len(where)
    ]
    both = [tuple(_summed(ratio, each, groups) for each in (where, ~where)) for *_, where in found]
    tested = [groups is None or min(map(len, pair)) >= FEWEST for pair in both]
    times, made = sum(tested), []
    for (column, level, where), (part, rest), known in zip(found, both, tested, strict=True):
        p = part.p_against(rest) if known else None
        made.append(
            Slice(
                column,
                level,
                int(where.sum()),
                part.value,
                part.interval(1 - 0.05 / times) if known else None,
                None if p is None else min(1.0, p * times),
                rest.value,
            )
        )
    return made


def _summed(ratio: Ratio, where: np.ndarray, groups: np.ndarray | None) -> Ratio:
    """Of one part, by what is independent in it: its examples or its groups."""
    return ratio.of(where).summed(None if groups is None else groups[where])


def measured(texts: np.ndarray) -> np.ndarray:
    """Texts as numbers where all are numbers, of more than `MOST` values; NaN for empty ones.

    Few values may be codes, as of a site, and stay as they are.

    >>> measured(np.array([*map(str, range(13)), ''], object))[-2:]
    array([12., nan])
    >>> measured(np.array(['1', '2'], object)).tolist()
    ['1', '2']
    """
    try:
        numbers = np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return texts
    return numbers if len(np.unique(numbers[~np.isnan(numbers)])) > MOST else texts


def parts_of(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, bool (n,)) of the parts of a column.

    >>> [(name, int(where.sum())) for name, where in parts_of(np.array(['b', 'a', 'b', '']))]
    [('b', 2), ('a', 1)]
    >>> [name for name, _ in parts_of(np.arange(40.0))]
    ['0 to 9.75', '9.75 to 19.5', '19.5 to 29.2', '29.2 to 39']
    >>> [name for name, _ in parts_of(np.arange(1995.0, 2025))]
    ['1995 to 2002', '2002 to 2010', '2010 to 2017', '2017 to 2024']
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
    named = _apart(edges)
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (numbers >= low) & ((numbers < high) | (index == len(edges) - 2))
        yield f'{named[index]} to {named[index + 1]}', inside & (numbers <= high)


def _apart(edges: np.ndarray) -> list[str]:
    """Numbers as text in the fewest digits, 3 at least, that tell them apart by a tenth."""
    closest = float(np.diff(edges).min())
    for digits in range(3, 17):
        named = [f'{edge:.{digits}g}' for edge in edges]
        off = max(abs(float(text) - edge) for text, edge in zip(named, edges, strict=True))
        if off <= closest / 10:
            break
    return named
