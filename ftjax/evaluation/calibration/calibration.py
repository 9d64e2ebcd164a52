"""Whether a network's confidence can be taken at its word."""

from __future__ import annotations

from typing import Any

import numpy as np


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> list[dict[str, object]]:
    """Confidence against accuracy in equal-width bins of confidence; empty bins are left out.

    Args:
      probabilities: (n, classes), rows summing to 1.
      labels: int (n,).
      bins: how many; bin i holds confidences in (i/bins, (i+1)/bins].

    Returns:
      One dict a bin: `low`, `high` (its edges), `count`, mean `confidence`, `accuracy`.
    """
    return binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def binned(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> list[dict[str, Any]]:
    """As `reliability`, from the confidence (n,) of each answer and whether it is correct."""
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            'low': i / bins,
            'high': (i + 1) / bins,
            'count': int(inside.sum()),
            'confidence': float(confidence[inside].mean()),
            'accuracy': float(correct[inside].mean()),
        }
        for i in range(bins)
        if (inside := number == i).any()
    ]


def calibration_gap(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error: the mean gap between confidence and accuracy over bins.

    Each bin of confidence counts by its examples; `confidence` (n,), `correct` bool (n,).
    Source: Guo et al. (2017), On calibration of modern neural networks, equation 3.

    >>> calibration_gap(np.array([0.8, 0.8]), np.array([True, False]))
    0.30000000000000004
    """
    rows = binned(confidence, correct, bins)
    gaps = sum(row['count'] * abs(row['accuracy'] - row['confidence']) for row in rows)
    return float(gaps / len(correct))
