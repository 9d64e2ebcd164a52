"""Aggregates over tasks and runs with stratified bootstrap intervals, as rliable defines them.

Scores are a matrix (runs, tasks), or one vector of runs a task where their numbers differ.
Runs are resampled within each task (the strata), never across tasks. The intervals are
percentile intervals: good with many tasks, too narrow for one task with a handful of seeds,
where `statistics.mean_interval` is the one to trust.

Source: Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical
precipice, NeurIPS; definitions checked against the numbers that rliable publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ftjax.ablation.statistics.paired import Interval, finite
from ftjax.errors import UserError

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
) -> Interval:
    """A statistic over all runs and tasks with its stratified bootstrap interval.

    >>> scores = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
    >>> print(aggregate(scores, iqm, seed=0))
    1.5 [1, 2]
    """
    tasks = strata(scores)
    rng = np.random.default_rng(seed)
    resampled = statistic([_resample(task, resamples, rng) for task in tasks])
    return _percentiles(float(statistic(tasks)), resampled, tasks, confidence)


def probability_of_improvement(
    scores: Scores,
    reference: Scores,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
) -> Interval:
    """Chance that a run of the arm beats a run of the reference, averaged over tasks.

    A tie counts one half. The two arms' runs are resampled independently. 0.5 says that
    neither is better; it says nothing about by how much.

    Args:
      scores, reference: the same tasks in the same order; numbers of runs may differ.
    """
    arms = strata(scores), strata(reference)
    if len(arms[0]) != len(arms[1]):
        raise UserError(f'{len(arms[0])} tasks of the arm, {len(arms[1])} of the reference')
    rng = np.random.default_rng(seed)
    estimate = _mean_superiority(*arms)
    resampled = _mean_superiority(
        *([_resample(task, resamples, rng) for task in tasks] for tasks in arms)
    )
    return _percentiles(float(estimate), resampled, arms[0], confidence)


def paired_aggregate(
    scores: Scores,
    reference: Scores,
    statistic: Statistic = mean,
    *,
    confidence: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
) -> Interval:
    """A statistic of the arm minus that of the reference; both resample the same seeds.

    Args:
      scores, reference: the same tasks and, within a task, the same seeds in the same order.
    """
    arms = strata(scores), strata(reference)
    if [len(task) for task in arms[0]] != [len(task) for task in arms[1]]:
        raise UserError('paired arms need the same tasks and the same seeds in each')
    rng = np.random.default_rng(seed)
    chosen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for task, partner in zip(*arms, strict=True):
        index = rng.integers(0, len(task), (resamples, len(task)))
        chosen[0].append(task[index])
        chosen[1].append(partner[index])
    estimate = float(statistic(arms[0]) - statistic(arms[1]))
    resampled = statistic(chosen[0]) - statistic(chosen[1])
    return _percentiles(estimate, resampled, arms[0], confidence)


def performance_profile(
    scores: Scores,
    thresholds: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """The share of runs that score above each threshold, tasks weighing alike by their runs.

    Returns:
      `thresholds`, `share`, and the bounds `low` and `high` of its interval at each one.
    """
    tasks = strata(scores)
    rng = np.random.default_rng(seed)
    resampled = np.concatenate([_resample(task, resamples, rng) for task in tasks], axis=-1)
    pooled = np.concatenate(tasks)
    tail = (1 - confidence) / 2
    share, low, high = [], [], []
    for threshold in thresholds:
        share.append(float((pooled > threshold).mean()))
        bounds = np.quantile((resampled > threshold).mean(axis=-1), [tail, 1 - tail])
        low.append(float(bounds[0]))
        high.append(float(bounds[1]))
    return {
        'thresholds': [float(threshold) for threshold in thresholds],
        'share': share,
        'low': low,
        'high': high,
    }


def _mean_superiority(arm: list[np.ndarray], reference: list[np.ndarray]) -> np.ndarray:
    chances = []
    for x, y in zip(arm, reference, strict=True):
        difference = x[..., :, None] - y[..., None, :]
        chances.append(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1)))
    return np.mean(chances, axis=0)


def _resample(task: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return task[rng.integers(0, len(task), (resamples, len(task)))]


def _percentiles(
    estimate: float, resampled: np.ndarray, tasks: list[np.ndarray], confidence: float
) -> Interval:
    low, high = None, None
    # One run a task cannot vary: its bootstrap interval would be a point and a lie.
    if max(len(task) for task in tasks) > 1:
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
