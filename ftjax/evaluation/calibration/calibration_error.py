"""The calibration error in bins of equally many examples, with its interval and its bias."""

from __future__ import annotations

import numpy as np

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
    simulations with an error at least as large as the one measured. `ece_interval` is the basic
    bootstrap interval (95 %), which takes the bias of resampling off; its lower end is at least 0.

    With groups (n,) these are drawn, and the interval of a single one is None. Answers of a group
    are not right by chance alone, so nothing is simulated: `ece_if_calibrated` and `p_calibrated`
    are left out.
    """
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, np.float64)
    n, rng = len(confidence), np.random.default_rng(seed)
    order = np.argsort(confidence, kind='stable')
    confidence, correct = confidence[order], correct[order]
    measured = equal_mass_error(confidence, correct, bins)
    if groups is not None:
        return _of_groups(correct - confidence, np.asarray(groups)[order], measured, bins, rng)
    starts = _starts(n, bins)
    chance, again = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        gaps = (rng.random(n) < confidence) - confidence
        chance[index] = np.abs(np.add.reduceat(gaps, starts)).sum() / n
        picked = np.sort(rng.integers(0, n, n))  # sorted positions keep the order of confidence
        gaps = correct[picked] - confidence[picked]
        again[index] = np.abs(np.add.reduceat(gaps, starts)).sum() / n
    return {
        'ece': measured,
        'ece_interval': _basic_interval(measured, again),
        'ece_if_calibrated': float(chance.mean()),
        'p_calibrated': float((chance >= measured - 1e-12).mean()),
        'bins': len(starts),
        'n': n,
    }


def _of_groups(
    gaps: np.ndarray, groups: np.ndarray, measured: float, bins: int, rng: np.random.Generator
) -> dict[str, object]:
    """As of examples, from the gaps (n,) in the order of confidence."""
    names, code, counts = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(code, kind='stable'), np.cumsum(counts)[:-1])
    again = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        drawn = rng.integers(0, len(members), len(members))
        picked = np.sort(np.concatenate([members[number] for number in drawn]))
        sums = np.add.reduceat(gaps[picked], _starts(len(picked), bins))
        again[index] = np.abs(sums).sum() / len(picked)
    return {
        'ece': measured,
        'ece_interval': _basic_interval(measured, again) if len(names) > 1 else None,
        'bins': min(bins, len(gaps)),
        'n': len(gaps),
        'groups': len(names),
    }


def _basic_interval(measured: float, again: np.ndarray) -> list[float]:
    """Of what was measured, and what resamples gave."""
    low, high = np.percentile(again, [2.5, 97.5])
    return [max(0.0, 2 * measured - float(high)), max(0.0, 2 * measured - float(low))]


def _starts(n: int, bins: int) -> np.ndarray:
    """Where each bin begins."""
    count = min(bins, n)
    return np.arange(count) * n // count
