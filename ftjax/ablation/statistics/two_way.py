"""Scores as arm plus seed plus noise: means of arms, and how much the noise of each arm varies.

score[arm, seed] = mean[arm] + effect[seed] + noise; the noise of every arm has a variance of its
own. What seeds share (data subset, order, test split) is in their effect, and leaves every
difference of arms. Runs may be missing: then the effect of a seed is read off the other arms.
"""

from __future__ import annotations

import dataclasses

import numpy as np

LEAST_DF = 0.01
"""Of fewer degrees of freedom nothing is learnt: of one run, or where an arm has all the weight."""


@dataclasses.dataclass(frozen=True)
class TwoWay:
    """Weighted least squares.

    Attributes:
      variances: of each arm's noise (arms,): sum of squared residuals over `df`; 0 without any.
      df: degrees of freedom of these (arms,); (arms - 1) (seeds - 1) together, with all runs.
      means: the map from scores to the arms' means (arms, arms, seeds); these are known up to a
        constant that arms share. With all runs, the plain means.
    """

    variances: np.ndarray
    df: np.ndarray
    means: np.ndarray


def two_way(scores: np.ndarray, weights: np.ndarray) -> TwoWay:
    """The fit of scores (arms, seeds), NaN where a run is missing; every arm has one run or more.

    Args:
      weights: of the arms (arms,): the reciprocals of their variances, as far as they are known.
        Variances are unbiased where these are right.
    """
    there = np.isfinite(scores).astype(np.float64)
    share = there / there.sum(1, keepdims=True)
    # Of each arm: takes its mean off what is multiplied by it (arms, seeds, seeds).
    centre = there[:, :, None] * (np.eye(scores.shape[1]) - share[:, None, :])
    inverse = np.linalg.pinv(np.tensordot(weights, centre, 1), hermitian=True)
    effects = inverse @ (weights[:, None, None] * centre)  # of seeds, from each arm's scores
    known = np.where(there > 0, scores, 0.0)
    effect = np.einsum('ast,at->s', effects, known)
    residuals = np.einsum('ast,at->as', centre, known - effect)
    leverage = np.einsum('ast,ast->as', centre @ inverse, centre) * weights[:, None] + share
    df = np.maximum((there * (1 - leverage)).sum(1), 0.0)
    df[df < LEAST_DF] = 0.0
    means = -np.einsum('as,bst->abt', share, effects)
    means[range(len(scores)), range(len(scores))] += share
    variances = np.divide((residuals**2).sum(1), df, out=np.zeros_like(df), where=df > 0)
    return TwoWay(variances, df, means)


def rough_variances(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances and degrees of freedom (arms,) to begin with.

    The effect of a seed is the median over arms, so that one run far off spoils its own arm's
    variance and no other's.
    """
    runs = np.isfinite(scores).sum(1, keepdims=True)
    centred = scores - np.nanmean(scores, axis=1, keepdims=True)
    residuals = centred - np.nanmedian(centred, axis=0)
    residuals -= np.nanmean(residuals, axis=1, keepdims=True)
    df = (runs[:, 0] - 1) * (1 - 1 / len(scores))
    squares = np.nansum(residuals**2, axis=1)
    return np.divide(squares, df, out=np.zeros_like(squares), where=df > 0), df


def joined_to(reference: int, there: np.ndarray) -> np.ndarray:
    """Which arms (arms,) can be compared to the reference: by seeds shared, directly or not.

    >>> joined_to(0, np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], bool))
    array([ True,  True, False])
    """
    arms = np.zeros(len(there), bool)
    arms[reference] = there[reference].any()
    while True:
        seeds = there[arms].any(0)
        grown = arms | there[:, seeds].any(1)
        if (grown == arms).all():
            return arms
        arms = grown
