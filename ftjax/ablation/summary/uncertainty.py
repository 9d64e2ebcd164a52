"""Where the uncertainty of differences comes from: other seeds, or other test examples.

The `sources` object of a task in summary.json, where rows tell of test examples (`examples`) and
their mean is the metric: fixed (whether all seeds have the same test examples), examples (in one
test split, on average), arms: one object an arm: arm, seeds (how many), difference, and the
standard errors of it for other seeds, for other examples and for both, as `Uncertainty` of
`ftjax.ablation.statistics.paired_examples` has them; and, for right and wrong, only_arm and
only_reference: examples that only one of the two has right, mean over seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.ablation.rates.choice import known_rate
from ftjax.ablation.statistics.paired_examples import uncertainty
from ftjax.ablation.statistics.row_types import Rows, Summary
from ftjax.ablation.summary.coverage import same_test_split
from ftjax.evaluation.example_scores import unpacked
from ftjax.evaluation.metric import Metric

ByArm = dict[str, dict[int, np.ndarray]]


def example_scores(rows: Rows, arms: Sequence[Summary], metric: Metric) -> ByArm:
    """Arm to seed to the scores of its test examples, at the arm's chosen rate.

    Args:
      rows: of one task.
      arms: of the task's summary.
      metric: whose value is the mean of the scores; rows of another are left out, and rows whose
        scores have another mean.
    """
    found: ByArm = {}
    for arm in arms:
        for row in rows:
            told = row.get('examples')
            if row['arm'] != arm['arm'] or row['status'] != 'ok' or not told:
                continue
            chosen = row['rate'] is None and arm['rate'] is None
            if arm['rate'] is not None and row['rate'] is not None:
                chosen = known_rate(row['rate'], [arm['rate']]) == arm['rate']
            if chosen and told.get('metric') in metric.names:
                scores = unpacked(told)
                if scores.agree_with(row['test'] or {}):
                    found.setdefault(arm['arm'], {})[row['seed']] = scores.values
    return found


def sources_of(
    rows: Rows,
    arms: Sequence[Summary],
    reference: str,
    metric: Metric,
    overlap: float = 0.0,
) -> dict[str, object] | None:
    """The `sources` of a task; None where rows do not tell it. `overlap` is that of folds."""
    scores = example_scores(rows, arms, metric)
    fixed = same_test_split(rows)
    if fixed is None:
        return None
    made, sizes = [], []
    for arm, mine in scores.items():
        others = scores.get(reference, {})
        seeds = [
            seed for seed in sorted({*mine} & {*others}) if len(mine[seed]) == len(others[seed])
        ]
        if arm == reference or len(seeds) < 2 or min(len(mine[seed]) for seed in seeds) < 2:
            continue
        pair = [mine[seed] for seed in seeds], [others[seed] for seed in seeds]
        found = dataclasses.asdict(uncertainty(*pair, fixed=fixed, overlap=overlap))
        told = {'arm': arm, 'n_seeds': len(seeds), **found}
        if all(one.dtype == bool for one in (*pair[0], *pair[1])):
            told |= {
                'only_arm': _mean(one & ~other for one, other in zip(*pair, strict=True)),
                'only_reference': _mean(other & ~one for one, other in zip(*pair, strict=True)),
            }
        made.append({key: value for key, value in told.items() if key != 'fixed'})
        sizes += [len(one) for one in pair[0]]
    if not made:
        return None
    return {'fixed': fixed, 'examples': float(np.mean(sizes)), 'arms': made}


def _mean(marked: Any) -> float:
    return float(np.mean([one.sum() for one in marked]))
