"""How well scores rank one class against the rest: areas under curves, and points on them."""

from __future__ import annotations

from typing import Any

import numpy as np

Each = list[float | None]


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Of each class log p - log(1 - p), float64 (n, classes): unequal where p rounds to 1.

    >>> log_odds(np.array([[50.0, 0.0]])).tolist()
    [[50.0, -50.0]]
    """
    shifted = np.asarray(logits, np.float64)
    rows, top = np.arange(len(shifted)), shifted.argmax(axis=1)
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):  # outputs no numbers
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        odds = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True) - np.exp(shifted))
        # The sum without the largest is no difference: that would be 0 where p rounds to 1.
        rest = shifted.copy()
        rest[rows, top] = -np.inf
        second = rest.max(axis=1)
        odds[rows, top] = -second - np.log(np.exp(rest - second[:, None]).sum(axis=1))
    return odds


def auroc(scores: np.ndarray, labels: np.ndarray) -> Each:
    """Area under the ROC curve of each class against the rest, ties half.

    Args:
      scores: (n, classes), higher for the class.
      labels: (n,) class of each example.

    None for a class without examples, or without others, and where a score is NaN.
    Source: Mann & Whitney 1947; Hanley & McNeil 1982, 10.1148/radiology.143.1.7063747.
    """
    from scipy import stats

    positive = _positive(scores, labels)
    n, found = len(scores), positive.sum(axis=0)
    ranks = stats.rankdata(scores, axis=0)
    above = (ranks * positive).sum(axis=0) - found * (found + 1) / 2
    return _defined(above, found * (n - found), positive, scores)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> Each:
    """Mean over positives of the precision at the threshold that finds them, by class.

    That is scikit-learn's step-wise sum. Arguments and None as of `auroc`.
    """
    positive = _positive(scores, labels)
    sums = np.zeros(scores.shape[1])
    for c in range(scores.shape[1]):
        order = np.argsort(-scores[:, c], kind='stable')
        last = np.flatnonzero(np.diff(scores[order, c], append=np.nan))  # equal scores: one step
        found = np.cumsum(positive[order, c])[last]
        sums[c] = (np.diff(found, prepend=0) * found / (last + 1)).sum()
    return _defined(sums, positive.sum(axis=0), positive, scores)


def sensitivity_at(specificity: float, scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The largest share of positives found where this share of the others is not.

    Args:
      specificity: between 0 and 1.
      scores: (n,), higher for positives.
      positive: (n,) bool.

    The threshold is chosen on these very examples. None without positives or without others.
    """
    if positive.all() or not positive.any() or not np.isfinite(scores).all():
        return None
    others = np.sort(scores[~positive])[::-1]
    allowed = int(np.floor((1 - specificity) * len(others) + 1e-9))
    return float((scores[positive] > others[allowed]).mean()) if allowed < len(others) else 1.0


def mean_of(each: Each) -> float | None:
    """The mean of those that are defined; None where none is."""
    known = [value for value in each if value is not None]
    return float(np.mean(known)) if known else None


def _positive(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(labels)[:, None] == np.arange(scores.shape[1])


def _defined(
    above: np.ndarray, below: np.ndarray, positive: np.ndarray, scores: np.ndarray
) -> Each:
    known: Any = positive.any(axis=0) & ~positive.all(axis=0) & np.isfinite(scores).all(axis=0)
    return [float(above[c] / below[c]) if known[c] else None for c in range(len(known))]
