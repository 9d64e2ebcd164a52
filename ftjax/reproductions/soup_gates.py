"""Verdicts on soups and on interpolated weights, from the rows of their runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.ablation.gates.gates import gate
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats


def soup_verdicts(
    rows: Sequence[JsonObject],
    *,
    start: str,
    best: str,
    uniform: str,
    greedy: str,
    inside: Sequence[str],
    shifted: str,
    metric: str = 'accuracy',
    overlap: float = 0.0,
) -> list[dict[str, object]]:
    """Gates on the soups, reports on the line from start to best member.

    Args:
      rows: one an arm and seed, with 'val', 'test' and 'shifts'.
      start, best, uniform, greedy: names of arms; `best` is the member of the highest
        validation score.
      inside: the arms between start and best member, in order.
      shifted: the shift that stands for all.
      metric: of which the highest is best.
      overlap: of folds; see `statistics.mean_interval`.

    Returns:
      Objects {gate, passed, value, interval, kind}; values as the metric is written (accuracy in
      percentage points), paired over the seeds that all arms finished; none if there are none.
    """
    by_cell = {(row['arm'], row['seed']): row for row in rows if row['status'] == 'ok'}
    arms = (start, best, uniform, greedy, *inside)
    seeds = sorted({row['seed'] for row in rows})
    seeds = [seed for seed in seeds if all((arm, seed) in by_cell for arm in arms)]
    if not seeds:
        return []
    scale = number_formats.scale_of(metric)

    def points(arm: str, split: str) -> np.ndarray:
        found = [by_cell[arm, seed] for seed in seeds]
        numbers = [r['shifts'][shifted] if split == 'ood' else r[split] for r in found]
        return scale * np.array([one[metric] for one in numbers])

    def report(claim: str, values: np.ndarray) -> dict[str, object]:
        return gate(claim, values, 'report', overlap)

    gain = points(greedy, 'val') - points(best, 'val')
    members = [[m['shifted'] for m in by_cell[best, seed]['members']] for seed in seeds]
    luckiest = scale * np.array(members).max(1)
    ends = {arm: points(arm, 'ood') for arm in (start, best)}
    end = max(ends, key=lambda arm: ends[arm].mean())
    middle = inside[len(inside) // 2]
    top = max(inside, key=lambda arm: points(arm, 'ood').mean())
    return [
        {
            **gate(
                'greedy at least the best member in every seed, on the split that chose both',
                gain,
                overlap=overlap,
            ),
            'passed': bool((gain >= 0).all()),
        },
        gate(
            'uniform above the best member, out of distribution',
            points(uniform, 'ood') - points(best, 'ood'),
            overlap=overlap,
        ),
        report(
            'uniform minus the best member, in distribution',
            points(uniform, 'test') - points(best, 'test'),
        ),
        report(
            'greedy minus the best member, in distribution',
            points(greedy, 'test') - points(best, 'test'),
        ),
        report(
            'greedy minus the best member, out of distribution',
            points(greedy, 'ood') - points(best, 'ood'),
        ),
        report(
            'uniform minus the member that is best out of distribution, there',
            points(uniform, 'ood') - luckiest,
        ),
        report(
            f'{middle} minus the better end ({end}), out of distribution',
            points(middle, 'ood') - ends[end],
        ),
        report(
            f'{top}, the highest point inside (chosen on these numbers), minus the better end '
            f'({end}), out of distribution',
            points(top, 'ood') - ends[end],
        ),
    ]
