"""Two arms compared example by example: other seeds against other test examples.

Scores are those of each test example in each seed's run. Where all seeds have the same test
examples they are a table (seeds, examples); else each seed has examples of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Standard errors of a mean difference, by what would be drawn anew.

    Attributes:
      difference: mean over seeds and examples.
      seeds: other seeds, the same test examples; where each seed has test examples of its own,
        other seeds on endlessly many of them.
      examples: other test examples, the same trained networks.
      both: other seeds and other test examples.
      fixed: whether all seeds have the same test examples.
    """

    difference: float
    seeds: float
    examples: float
    both: float
    fixed: bool


def uncertainty(
    arm: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    *,
    fixed: bool,
    overlap: float = 0.0,
) -> Uncertainty:
    """Splits the uncertainty of arm minus reference, two seeds or more.

    With the same examples for all seeds: difference = mean + seed + example + rest, each random
    with a variance of its own (two-way analysis of variance without replication). The variance
    for other seeds holds the rest too, so does that for other examples, and it counts once in
    that for both.

    Args:
      arm, reference: scores of the examples (examples,), an array a seed, in the same order.
      fixed: whether the examples are the same for all seeds.
      overlap: of folds; see `statistics.mean_interval`.
    """
    differences = [
        np.asarray(mine, np.float64) - np.asarray(other, np.float64)
        for mine, other in zip(arm, reference, strict=True)
    ]
    count = len(differences)
    if count < 2 or min(map(len, differences)) < 2:
        raise UserError('two seeds and two test examples are needed to tell them apart')
    means = np.array([one.mean() for one in differences])
    of_seeds = means.var(ddof=1) * (1 / count + overlap)
    if fixed:
        table = np.stack(differences)
        size = table.shape[1]
        of_examples = table.mean(0).var(ddof=1) / size
        rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        of_rest = (rest**2).sum() / ((count - 1) * (size - 1)) / (count * size)
        both = max(of_seeds + of_examples - of_rest, of_seeds, of_examples)
        parts = of_seeds, of_examples, both
    else:
        # What tests of so many examples make of the spread over seeds.
        of_examples = np.mean([one.var(ddof=1) / len(one) for one in differences]) / count
        # Few seeds may by chance spread less than their examples alone would make them.
        parts = max(of_seeds - of_examples, 0.0), of_examples, max(of_seeds, of_examples)
    seeds, examples, both = (float(np.sqrt(part)) for part in parts)
    mean = float(means.mean())
    return Uncertainty(difference=mean, seeds=seeds, examples=examples, both=both, fixed=fixed)
