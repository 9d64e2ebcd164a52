"""Split conformal prediction: sets of classes that hold the true one as often as was promised.

Source: Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world; Angelopoulos and
Bates (2021), A gentle introduction to conformal prediction, arXiv 2107.07511.
"""

from __future__ import annotations

import math

import numpy as np

from ftjax.errors import UserError


def nonconformity(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 minus the probability of the true class: (n,) from (n, classes) and int (n,)."""
    return 1 - np.asarray(probabilities)[np.arange(len(labels)), labels]


def conformal_quantile(scores: np.ndarray, coverage: float) -> float | None:
    """The nonconformity that a class of the set may have at most; None where n is too small.

    It is the ceil((n + 1) coverage)-th smallest of n held-out scores. If new examples are
    exchangeable with these, a set holds the true class with a probability of at least
    `coverage`, and of at most 1 / (n + 1) more where no scores are equal. The probability is over
    the held-out examples too, and over all classes together, not for each of them.

    Args:
      scores: of examples that were neither trained on nor chosen by, (n,).
      coverage: between 0 and 1.

    >>> conformal_quantile(np.array([0.1, 0.2, 0.3, 0.4]), 0.8), conformal_quantile(np.ones(4), 0.9)
    (0.4, None)
    """
    if not 0 < coverage < 1:
        raise UserError(f'coverage is {coverage:g}; expected a number between 0 and 1')
    # 1e-9: a product that is 9 on paper may be 9.000000000000002 here.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return None if rank > len(scores) else float(np.sort(scores)[rank - 1])


def prediction_sets(probabilities: np.ndarray, quantile: float | None) -> np.ndarray:
    """Which classes are in the set of each example: bool (n, classes); all of them for None."""
    probabilities = np.asarray(probabilities)
    if quantile is None:
        return np.ones(probabilities.shape, bool)
    return 1 - probabilities <= quantile


def set_summary(sets: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How often sets (n, classes) hold the label, how large they are, and how many are empty."""
    sizes = sets.sum(axis=1)
    return {
        'coverage': float(sets[np.arange(len(labels)), labels].mean()),
        'mean_size': float(sizes.mean()),
        'share_single': float((sizes == 1).mean()),
        'share_empty': float((sizes == 0).mean()),
    }
