"""All tasks together: aggregates over tasks and seeds.

The `overall` object of summary.json:
  arms: one object an arm: arm, n_tasks, n_runs, n_unfinished, mean and iqm (intervals over
  all runs, stratified by task), difference (interval of the paired mean difference to the
  reference, null for the reference), probability_of_improvement (interval), profile
  ({thresholds, share, low, high}: share of runs above each threshold, or below it where lower
  is better).
An unfinished run counts as the floor, or as the worst finished score of its task; an arm is
left out if some task has no run of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.statistics import bootstrap
from ftjax.ablation.summary.arm import worst_score


def summarise_overall(
    tasks: Sequence[Mapping[str, Any]],
    reference: str,
    *,
    higher_is_better: bool,
    floor: float | None,
    confidence: float,
) -> dict[str, Any]:
    """Aggregates every arm that was run on every task.

    Args:
      tasks: the `tasks` of a summary.
      floor: what an unfinished run counts as; the task's worst score when None.
    """
    scores: dict[str, list[dict[int, float]]] = {}
    unfinished: dict[str, int] = {}
    for task in tasks:
        worst = worst_score(task['arms'], higher_is_better) if floor is None else floor
        for arm in task['arms']:
            if arm['seeds'] and worst is not None:
                filled = {k: worst if v is None else v for k, v in arm['seeds'].items()}
                scores.setdefault(arm['arm'], []).append(filled)
                missed = unfinished.get(arm['arm'], 0)
                unfinished[arm['arm']] = missed + arm['n_unfinished']
    complete = {arm: found for arm, found in scores.items() if len(found) == len(tasks)}
    if not complete:
        return {'arms': []}
    everything = np.concatenate([list(t.values()) for found in complete.values() for t in found])
    thresholds = np.linspace(everything.min(), everything.max(), 60)
    # A threshold beyond the worst score, so that every profile begins (or ends) at 1.
    beyond = 1e-9 + 1e-6 * np.ptp(everything)
    if higher_is_better:
        thresholds[0] -= beyond
    else:
        thresholds[-1] += beyond
    arms = []
    for arm, found in complete.items():
        runs = [list(task.values()) for task in found]
        arms.append(
            {
                'arm': arm,
                'n_tasks': len(runs),
                'n_runs': sum(len(task) for task in runs),
                'n_unfinished': unfinished[arm],
                'mean': bootstrap.aggregate(runs, bootstrap.mean, confidence=confidence),
                'iqm': bootstrap.aggregate(runs, confidence=confidence),
                **_comparison(arm, reference, complete, higher_is_better, confidence),
                'profile': _profile(runs, thresholds, higher_is_better, confidence),
            }
        )
    return {'arms': arms}


def _profile(
    runs: list[list[float]], thresholds: np.ndarray, higher_is_better: bool, confidence: float
) -> dict[str, list[float]]:
    """The share of runs that are better than each threshold; thresholds rise either way."""
    if higher_is_better:
        return bootstrap.performance_profile(runs, thresholds.tolist(), confidence=confidence)
    turned = bootstrap.performance_profile(
        [[-value for value in task] for task in runs],
        (-thresholds).tolist(),
        confidence=confidence,
    )
    return {**turned, 'thresholds': thresholds.tolist()}


def _comparison(
    arm: str,
    reference: str,
    scores: Mapping[str, list[dict[int, float]]],
    higher_is_better: bool,
    confidence: float,
) -> dict[str, Any]:
    nothing = {'difference': None, 'probability_of_improvement': None}
    if arm == reference or reference not in scores:
        return nothing
    pairs = [
        (mine, theirs, sorted(set(mine) & set(theirs)))
        for mine, theirs in zip(scores[arm], scores[reference], strict=True)
    ]
    if not all(common for _, _, common in pairs):
        return nothing
    ours = [[mine[seed] for seed in common] for mine, _, common in pairs]
    others = [[theirs[seed] for seed in common] for _, theirs, common in pairs]
    sign = 1 if higher_is_better else -1
    return {
        'difference': bootstrap.paired_aggregate(ours, others, confidence=confidence),
        'probability_of_improvement': bootstrap.probability_of_improvement(
            [[sign * value for value in task] for task in ours],
            [[sign * value for value in task] for task in others],
            confidence=confidence,
        ),
    }
