"""McNemar's exact test: whether one of two networks is right more often on the same examples."""

from __future__ import annotations

import dataclasses

import numpy as np

from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class McNemar:
    """Two networks on the same examples.

    Attributes:
      first, second: examples that only the one, only the other has right.
      p: two-sided, exact: of McNemar's test, that neither is right more often.
    """

    first: int
    second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test on right and wrong, bool (examples,) each.

    Source: Q. McNemar (1947), Psychometrika 12, 153-157.

    >>> mcnemar(np.array([1, 1, 1, 0, 1], bool), np.array([0, 0, 0, 0, 1], bool))
    McNemar(first=3, second=0, p=0.25)
    """
    from scipy import stats

    if first.shape != second.shape:
        raise UserError(f'{len(first)} examples and {len(second)}; expected the same ones')
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0
    return McNemar(first=one, second=other, p=p)
