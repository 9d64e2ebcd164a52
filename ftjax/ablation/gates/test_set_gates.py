"""Verdicts on further test sets: their mean scores seed by seed, and how far features moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ftjax.ablation.gates.gates import gate
from ftjax.ablation.rates.choice import known_rate
from ftjax.ablation.statistics.mean_interval import overlap_of
from ftjax.ablation.statistics.row_types import Rows, Summary

Groups = Mapping[str, Sequence[str]]
"""Name to the further test sets that are judged together."""


def mean_of_shifts(summary: Summary, names: Sequence[str]) -> dict[str, object]:
    """A summary as far as gates read it: the mean over further test sets, seed by seed.

    A seed without a score on every one of them has none.
    """
    tasks = []
    for task in summary['tasks']:
        arms = []
        for arm in task['arms']:
            by_test = [arm['shifts'].get(name, {'seeds': {}})['seeds'] for name in names]
            means: dict[object, float | None] = {}
            for seed in by_test[0]:
                scores = [seeds.get(seed) for seeds in by_test]
                means[seed] = None if None in scores else float(np.mean(scores))
            arms.append({'arm': arm['arm'], 'seeds': means})
        tasks.append({'task': task['task'], 'arms': arms})
    return {**summary, 'tasks': tasks}


def movement_verdicts(summary: Summary, rows: Rows, groups: Groups) -> list[dict[str, object]]:
    """Reports: how far the features of each arm moved at its chosen rate, in percent.

    On the task's own test set and, of each group, on average; an arm whose features stayed as
    they were in every run is left out, and so is a group where an arm has no distance on some of
    its test sets.

    Args:
      summary: from `summarise`, of one task.
      rows: of runs.jsonl; those with `features_moved` (test set to distance) are told.
    """
    places, overlap = {'in distribution': ('test',), **groups}, overlap_of(summary.get('folds'))
    verdicts = []
    for arm in summary['tasks'][0]['arms']:
        chosen = [
            row['features_moved']
            for row in rows
            if row['arm'] == arm['arm']
            and row.get('features_moved')
            and known_rate(row['rate'], [arm['rate']]) == arm['rate']
        ]
        if not any(value for moved in chosen for value in moved.values()):
            continue
        for place, names in places.items():
            values = [
                100 * np.mean([moved[name] for name in names])
                for moved in chosen
                if all(moved.get(name) is not None for name in names)
            ]
            if not values:
                continue
            claim = f'{place}: features of {arm["arm"]} moved by, % of their length'
            verdicts.append(gate(claim, np.array(values), 'report', overlap))
    return verdicts
