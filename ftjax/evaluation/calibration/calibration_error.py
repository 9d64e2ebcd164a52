"""The calibration error in bins of equally many examples, with its interval and its bias."""

from __future__ import annotations

import numpy as np

from ftjax.evaluation.calibration.calibration_interval import (
    TAIL,
    interval_of_examples,
    interval_of_groups,
)

RESAMPLES = 500


def equal_mass_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equally many examples (+- 1).

    Source: Nguyen and O'Connor (2015), Posterior calibration and exploratory analysis, section 3.

    Args:
      confidence: of each answer, (n,).
      correct: whether it is right, bool or 0 and 1, (n,).
      bins: at most; fewer where there are fewer examples.

    >>> equal_mass_error(np.array([0.6, 0.6, 0.9, 0.9]), np.array([1, 0, 1, 1]), bins=2)
    0.1
    """
    order = np.argsort(confidence, kind='stable')
    gaps = (np.asarray(correct, np.float64) - confidence)[order]
    sums = np.add.reduceat(gaps, _starts(len(gaps), bins))
    return round(float(np.abs(sums).sum() / len(gaps)), 12)


def calibration_error(
    confidence: np.ndarray,
    correct: np.ndarray,
    bins: int = 15,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, object]:
    """`ece` with its interval, and what it would be of a network that is calibrated.

    With few examples a bin's accuracy differs from its confidence by chance, so the error is above
    0 of a calibrated network too. `ece_if_calibrated` is its mean there, simulated: answers that
    are right with the probability that they were given with. `p_calibrated` is the share of these
    simulations with an error at least as large as the one measured. `ece_interval` (95 %) is of
    the error without that chance, see `calibration_interval`; its lower end is 0 unless
    `p_calibrated` is below .025.

    With groups (n,) these are what was drawn, and the interval of a single one is None. Answers of
    a group are not right by chance alone, so nothing is simulated: `ece_if_calibrated` and
    `p_calibrated` are left out.
    """
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, np.float64)
    n, rng = len(confidence), np.random.default_rng(seed)
    order = np.argsort(confidence, kind='stable')
    confidence, correct = confidence[order], correct[order]
    measured, starts = equal_mass_error(confidence, correct, bins), _starts(n, bins)
    if groups is not None:
        names, code = np.unique(np.asarray(groups)[order], return_inverse=True)
        sums, places = np.zeros((len(names), len(starts))), np.zeros(n, int)
        places[starts[1:]] = 1
        np.add.at(sums, (code, np.cumsum(places)), correct - confidence)
        sizes, rights = np.bincount(code), np.bincount(code, correct)
        return {
            'ece': measured,
            'ece_interval': interval_of_groups(sums, sizes, rights, rng),
            'bins': len(starts),
            'n': n,
            'groups': len(names),
        }
    chance = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        gaps = (rng.random(n) < confidence) - confidence
        chance[index] = np.abs(np.add.reduceat(gaps, starts)).sum() / n
    p_calibrated = float((chance >= measured - 1e-12).mean())
    low, high = interval_of_examples(confidence, correct, starts, rng)
    return {
        'ece': measured,
        'ece_interval': [low if p_calibrated < TAIL else 0.0, high],
        'ece_if_calibrated': float(chance.mean()),
        'p_calibrated': p_calibrated,
        'bins': len(starts),
        'n': n,
    }


def _starts(n: int, bins: int) -> np.ndarray:
    """Where each bin begins."""
    count = min(bins, n)
    return np.arange(count) * n // count
