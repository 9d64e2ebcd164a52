"""One arm of one task, summarised at its chosen rate.

An arm's object in summary.json:
  arm, n (runs planned), n_ok, n_diverged, n_failed, n_unfinished, n_missing,
  rate (chosen; null: not trained or never finished), rate_edge, n_trials, n_tied,
  curve: [{rate, mean, n_unfinished, values {seed: validation metric or null}}],
  seeds: {seed: test metric, null where unfinished},
  mean (interval, t), sd, iqm (interval, bootstrap); null where no run finished,
  val_mean, difference (null for the reference): {interval, bootstrap, p, p_holm, verdict,
  wins, ties, seeds, n_unpaired}, probability_of_improvement (interval),
  params_trainable, params_total, trainable_share, optimizer_bytes, wall_seconds,
  step_seconds, step_flops, peak_memory_bytes: means over the finished runs, or null,
  depth, shifts: {name: {n (examples), mean (interval), difference}}, movement: {stage: mean}.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.rates.choice import SAME, Choice, score_of
from ftjax.ablation.statistics import bootstrap
from ftjax.ablation.statistics.paired import mean_interval, paired_difference
from ftjax.evaluation.metric import Metric

Rows = Sequence[Mapping[str, Any]]
Scores = dict[int, float | None]


def summarise_arm(
    arm: str,
    rows: Rows,
    choice: Choice,
    seeds: Sequence[int],
    metric: Metric,
    confidence: float,
    overlap: float = 0.0,
) -> dict[str, Any]:
    """The object of an arm, without its comparison to the reference.

    Args:
      rows: of this arm and task, at all rates.
      choice: its rate.
      seeds: those planned; a run of another seed is left out.
      overlap: of folds; see `statistics.mean_interval`.
    """
    chosen = {row['seed']: row for row in rows if _at(row, choice) and row['seed'] in seeds}
    scores = {seed: score_of(row, metric) for seed, row in sorted(chosen.items())}
    finished = [score for score in scores.values() if score is not None]
    ok = [row for seed, row in chosen.items() if scores[seed] is not None]
    failed = sum(row['status'] == 'failed' for row in chosen.values())
    validation = [p.mean for p in choice.curve if p.rate == choice.rate and p.mean is not None]
    trainable, total = _mean(ok, 'params_trainable'), _mean(ok, 'params_total')
    return {
        'arm': arm,
        'n': len(seeds),
        'n_ok': len(finished),
        'n_diverged': len(scores) - len(finished) - failed,
        'n_failed': failed,
        'n_unfinished': len(scores) - len(finished),
        'n_missing': len(seeds) - len(scores),
        'rate': choice.rate,
        'rate_edge': choice.edge,
        'n_trials': choice.trials,
        'n_tied': len(choice.tied),
        'curve': [
            {
                'rate': point.rate,
                'mean': point.mean,
                'n_unfinished': point.n_unfinished,
                'values': dict(point.values),
            }
            for point in choice.curve
        ],
        'seeds': scores,
        'mean': mean_interval(finished, confidence, overlap) if finished else None,
        'sd': float(np.std(finished, ddof=1)) if len(finished) > 1 else None,
        'iqm': _iqm(finished, confidence),
        'val_mean': validation[0] if validation else None,
        'difference': None,
        'probability_of_improvement': None,
        'params_trainable': trainable,
        'params_total': total,
        'trainable_share': trainable / total if total and trainable is not None else None,
        'optimizer_bytes': _mean(ok, 'optimizer_bytes'),
        'wall_seconds': _mean(ok, 'wall_seconds'),
        'step_seconds': _mean(ok, 'step_seconds_median'),
        'step_flops': _mean(ok, 'step_flops'),
        'peak_memory_bytes': _mean(ok, 'peak_memory_bytes'),
        'depth': next((row['depth'] for row in ok if 'depth' in row), depth_of(arm)),
        'shifts': _shifts(ok, metric, confidence, overlap),
        'movement': _movement(ok),
    }


def add_comparison(
    arm: dict[str, Any],
    reference: Mapping[str, Any],
    higher_is_better: bool,
    worst: float | None,
    confidence: float,
    overlap: float = 0.0,
) -> None:
    """Fills in `difference` and `probability_of_improvement` of an arm and its shifts.

    Args:
      worst: what an unfinished run counts as in the probability of improvement.
    """
    if arm is reference:
        return
    options = {'confidence': confidence, 'overlap': overlap}
    found = paired_difference(arm['seeds'], reference['seeds'], **options)
    if found is not None:
        values = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        arm['difference'] = {**values, 'p_holm': None, 'verdict': 'no verdict'}
    if arm['seeds'] and reference['seeds'] and worst is not None:
        sign = 1 if higher_is_better else -1
        pair = [
            [[sign * (worst if s is None else s) for s in one['seeds'].values()]]
            for one in (arm, reference)
        ]
        arm['probability_of_improvement'] = bootstrap.probability_of_improvement(
            *pair, confidence=confidence
        )
    for name, shift in arm['shifts'].items():
        partner = reference['shifts'].get(name)
        if partner is not None:
            found = paired_difference(shift['seeds'], partner['seeds'], **options)
            shift['difference'] = None if found is None else found.interval


def worst_score(arms: Sequence[Mapping[str, Any]], higher_is_better: bool) -> float | None:
    """The worst finished score of any arm; None where no run finished."""
    scores = [s for arm in arms for s in arm['seeds'].values() if s is not None]
    if not scores:
        return None
    return min(scores) if higher_is_better else max(scores)


def depth_of(arm: str) -> int | None:
    """Blocks that an arm's name says it trains below the head: 'head' 0, 'last:3' 3.

    >>> depth_of('head'), depth_of('last:4+llrd:0.75'), depth_of('bitfit')
    (0, 4, None)
    """
    if arm == 'head':
        return 0
    found = re.match(r'last:(\d+)\b', arm)
    return int(found.group(1)) if found else None


def _at(row: Mapping[str, Any], choice: Choice) -> bool:
    rate = row.get('rate')
    if choice.rate is None:
        # Not trained, or no tuning run finished at any rate: then those count as unfinished.
        return row.get('rate') is None or row['status'] != 'ok'
    return rate is not None and abs(rate - choice.rate) <= SAME * choice.rate


def _iqm(finished: list[float], confidence: float) -> Any:
    if not finished:
        return None
    return bootstrap.aggregate([finished], confidence=confidence)


def _mean(rows: Rows, key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return int(mean) if all(isinstance(v, int) for v in values) and mean == int(mean) else mean


def _shifts(rows: Rows, metric: Metric, confidence: float, overlap: float) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row.get('shifts') or {})
    found = {}
    for name in names:
        scores: Scores = {
            row['seed']: metric.value_in((row.get('shifts') or {}).get(name, {})) for row in rows
        }
        finished = [s for s in scores.values() if s is not None]
        counts = [(row.get('shifts') or {}).get(name, {}).get('n') for row in rows]
        if finished:
            found[name] = {
                'n': max((count for count in counts if isinstance(count, int)), default=None),
                'mean': mean_interval(finished, confidence, overlap),
                'difference': None,
                'seeds': scores,
            }
    return found


def _movement(rows: Rows) -> dict[str, float]:
    stages = dict.fromkeys(stage for row in rows for stage in row.get('movement') or {})
    return {
        stage: math.fsum(row['movement'].get(stage, 0.0) for row in moved) / len(moved)
        for stage in stages
        if (moved := [row for row in rows if row.get('movement')])
    }
