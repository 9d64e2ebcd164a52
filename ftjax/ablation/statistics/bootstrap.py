"""Aggregates over tasks and runs with stratified bootstrap intervals, as rliable defines them.

Scores are a matrix (runs, tasks), or one vector of runs a task where their numbers differ.
Runs are resampled within each task (the strata), never across tasks. The intervals are
percentile intervals, too narrow where a task has a handful of seeds: below FEWEST runs a task
there are none. Runs that are folds vary together, which resampling does not see: `overlap` widens
the intervals as it does those of means (`mean_interval.py`).

Source: Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical
precipice, NeurIPS; definitions checked against the numbers that rliable publishes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ftjax.ablation.statistics.mean_interval import Interval, finite
from ftjax.errors import UserError

FEWEST = 8
"""Runs of each task that an interval takes: a bootstrap of fewer promises more than it holds."""
Scores = np.ndarray | Sequence[Sequence[float]]
# A statistic takes one array (..., runs) a task and reduces to (...), so that all
# resamples are computed at once.
Statistic = Callable[[list[np.ndarray]], np.ndarray]


def strata(scores: Scores) -> list[np.ndarray]:
    """One float64 vector of runs a task, from a (runs, tasks) matrix or such vectors."""
    if isinstance(scores, np.ndarray):
        if scores.ndim != 2:
            raise UserError(f'scores need shape (runs, tasks), not {scores.shape}')
        scores = list(scores.T)
    return [finite(task) for task in scores]


def mean(tasks: list[np.ndarray]) -> np.ndarray:
    """Mean over tasks of each task's mean over runs."""
    return np.mean([task.mean(axis=-1) for task in tasks], axis=0)


def iqm(tasks: list[np.ndarray]) -> np.ndarray:
    """Interquartile mean: of all scores together, without the lowest and highest quarter.

    A quarter is rounded down to whole scores, so that up to three scores none is left out.
    """
    scores = np.sort(np.concatenate(tasks, axis=-1), axis=-1)
    cut = scores.shape[-1] // 4
    return scores[..., cut : scores.shape[-1] - cut].mean(axis=-1)


def aggregate(
    scores: Scores,
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
    overlap: float = 0.0,
) -> Interval:
    """A statistic over all runs and tasks with its stratified bootstrap interval.

    Args:
      overlap: of folds; see `mean_interval`.

    >>> scores = np.array([[1, 2], [2, 2], [1, 1], [2, 1]] * 2)
    >>> print(aggregate(scores, iqm, seed=0))
    1.5 [1, 2]
    """
    tasks = strata(scores)
    rng = np.random.default_rng(seed)
    resampled = statistic([_resample(task, resamples, rng) for task in tasks])
    estimate = float(statistic(tasks))
    resampled = estimate + _widened(tasks, overlap) * (resampled - estimate)
    return _percentiles(estimate, resampled, tasks, confidence)


def performance_profile(
    scores: Scores,
    thresholds: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    overlap: float = 0.0,
) -> dict[str, list[float]]:
    """The share of runs that score above each threshold, tasks weighing alike by their runs.

    Returns:
      `thresholds`, `share`, and the bounds `low` and `high` of its interval at each one, if
      there are runs enough.
    """
    tasks = strata(scores)
    places, pooled = np.array(thresholds, np.float64), np.concatenate(tasks)
    found: dict[str, list[float]] = {
        'thresholds': places.tolist(),
        'share': [float((pooled > place).mean()) for place in places],
    }
    if min(len(task) for task in tasks) < FEWEST:
        return found
    rng = np.random.default_rng(seed)
    resampled = np.concatenate([_resample(task, resamples, rng) for task in tasks], axis=-1)
    tail, wider = (1 - confidence) / 2, _widened(tasks, overlap)
    bounds = []
    for place, share in zip(places, found['share'], strict=True):
        shares = share + wider * ((resampled > place).mean(axis=-1) - share)
        bounds.append(np.quantile(shares, [tail, 1 - tail]).clip(0, 1).tolist())
    return {**found, 'low': [low for low, _ in bounds], 'high': [high for _, high in bounds]}


def _resample(task: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return task[rng.integers(0, len(task), (resamples, len(task)))]


def _widened(tasks: list[np.ndarray], overlap: float) -> float:
    """Standard errors of folds over those of as many independent runs: s^2 (1/n + overlap)."""
    return math.sqrt(1 + overlap * max(len(task) for task in tasks))


def _percentiles(
    estimate: float, resampled: np.ndarray, tasks: list[np.ndarray], confidence: float
) -> Interval:
    low, high = None, None
    if min(len(task) for task in tasks) >= FEWEST:
        tail = (1 - confidence) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail]).tolist()
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        n=sum(len(task) for task in tasks),
        method='stratified percentile bootstrap',
        confidence=confidence,
    )
