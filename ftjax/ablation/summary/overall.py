"""All tasks together: the mean over these tasks, seed by seed, compared as on one task.

The `overall` object of summary.json:
  arms: one object an arm: arm, n_tasks, n_runs (planned), n_unfinished (of these, missing ones
  too), mean (interval, t, over the seeds that finished all tasks), iqm (interval, stratified
  bootstrap, over all runs), difference (as of an arm on one task), profile ({thresholds, share},
  and {low, high} where there are runs enough: share of runs above each threshold, or below it
  where lower is better).
In IQM and profile an unfinished run counts as the floor, or as the worst finished score of its
task. Where no run of an arm on a task finished, those that are missing count so too: no rate is
chosen, and the other seeds are not run. An arm is left out if some task has no run of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.ablation.statistics import bootstrap
from ftjax.ablation.statistics.comparison import compare_arms, options_of
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.summary.arm import difference_of, worst_score

CAVEAT = (
    'All tasks together: the mean over the tasks as they are given, seed by seed; its intervals '
    'say nothing of other tasks.'
)


def summarise_overall(summary: Summary, floor: float | None) -> dict[str, object]:
    """Aggregates every arm that was run on every task.

    Args:
      summary: of all tasks, as far as it is made.
      floor: what an unfinished run counts as; the task's worst score when None.
    """
    tasks, higher_is_better = summary['tasks'], summary['higher_is_better']
    confidence, reference = summary['confidence'], summary['reference']
    options = options_of(summary)
    folded: dict[str, Any] = {'confidence': confidence, 'overlap': options['overlap']}
    scores: dict[str, list[list[float]]] = {}
    for task in tasks:
        worst = worst_score(task['arms'], higher_is_better) if floor is None else floor
        for arm in task['arms']:
            if arm['seeds'] and worst is not None:
                filled = [worst if score is None else score for score in arm['seeds'].values()]
                if not arm['n_ok']:
                    filled = [worst] * arm['n']
                scores.setdefault(arm['arm'], []).append(filled)
    complete = {arm: found for arm, found in scores.items() if len(found) == len(tasks)}
    if not complete:
        return {'arms': []}
    everything = np.concatenate([task for found in complete.values() for task in found])
    thresholds = np.linspace(everything.min(), everything.max(), 60)
    # A threshold beyond the worst score, so that every profile begins (or ends) at 1.
    beyond = 1e-9 + 1e-6 * np.ptp(everything)
    if higher_is_better:
        thresholds[0] -= beyond
    else:
        thresholds[-1] += beyond
    means = mean_of_tasks(summary, [task['task'] for task in tasks])['tasks'][0]['arms']
    seeds = {arm['arm']: arm['seeds'] for arm in means if arm['arm'] in complete}
    # A baseline without runs, say, is no arm here.
    options['outside_prior'] = [arm for arm in options['outside_prior'] if arm in seeds]
    compared = None
    if reference in seeds:
        compared = compare_arms(seeds, reference, **options)
    arms = []
    for arm, runs in complete.items():
        each = [one for task in tasks for one in task['arms'] if one['arm'] == arm]
        finished = [score for score in seeds[arm].values() if score is not None]
        difference = None
        if compared is not None and arm != reference:
            difference = difference_of(compared[arm], compared)
        arms.append(
            {
                'arm': arm,
                'n_tasks': len(runs),
                'n_runs': sum(one['n'] for one in each),
                'n_unfinished': sum(one['n'] - one['n_ok'] for one in each),
                'mean': mean_interval(finished, **folded) if finished else None,
                'iqm': bootstrap.aggregate(runs, **folded),
                'difference': difference,
                'profile': _profile(runs, thresholds, higher_is_better, folded),
            }
        )
    return {'arms': arms}


def mean_of_tasks(summary: Summary, names: Sequence[str]) -> dict[str, Any]:
    """A summary of one task, as far as gates read it: the mean over tasks, seed by seed.

    A seed that an arm did not finish in every one of the tasks is None.
    """
    tasks = [task for task in summary['tasks'] if task['task'] in names]
    arms = []
    for place, arm in enumerate(tasks[0]['arms']):
        seeds = [task['arms'][place]['seeds'] for task in tasks]
        common = set.intersection(*map(set, seeds))
        means = {seed: _mean([one[seed] for one in seeds]) for seed in sorted(common, key=int)}
        arms.append({'arm': arm['arm'], 'seeds': means})
    return {**summary, 'tasks': [{'task': ' and '.join(names), 'arms': arms}]}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _profile(
    runs: list[list[float]],
    thresholds: np.ndarray,
    higher_is_better: bool,
    folded: dict[str, Any],
) -> dict[str, list[float]]:
    """The share of runs that are better than each threshold; thresholds rise either way."""
    if higher_is_better:
        return bootstrap.performance_profile(runs, thresholds.tolist(), **folded)
    turned = bootstrap.performance_profile(
        [[-value for value in task] for task in runs],
        (-thresholds).tolist(),
        **folded,
    )
    return {**turned, 'thresholds': thresholds.tolist()}
