"""One arm of one task, summarised at its chosen rate.

An arm's object in summary.json:
  arm, n (runs planned), n_ok, n_diverged, n_failed, n_undefined (finished, without a value of
  the metric), n_unfinished (the last three), n_missing,
  rate (chosen; null: not trained or never finished), rate_edge, n_trials, n_tied,
  rate_estimate (vertex of a parabola in log rate: {rate, low, high, confidence, ..}, or null),
  curve: [{rate, mean, n_unfinished, values {seed: validation metric or null}}],
  seeds: {seed: test metric, null where unfinished},
  mean (interval, t), sd, iqm (interval, bootstrap); null where no run finished,
  val_mean, difference (null for the reference, and where nothing can be compared): {interval
  (simultaneous over the arms), standard_error, probability_better, verdict ('better', 'worse',
  'equivalent', 'undecided'), further_seeds},
  params_trainable, params_total, trainable_share, optimizer_bytes, wall_seconds,
  step_seconds, step_flops, step_bytes: means over the finished runs, or null,
  step_seconds_interval (t interval over the runs),
  depth, shifts: {name: {n (examples), mean (interval), difference (interval), seeds}},
  movement: {stage: mean}, unfamiliar: {name: {score: AUROC over the seeds (interval)}},
  forgetting: {'after TASK': {mean (interval), learned (interval; of the scores that it is counted
  from), difference (interval), seeds}},
  retention, where the ablation asks for it: null where no run has a score, else {mean (interval),
  seeds, change (as `difference`, against the network before anything was added, whose own is
  null)}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.ablation.rates.choice import SAME, Choice, score_of
from ftjax.ablation.retention.retained import retained_by_arm
from ftjax.ablation.retention.retention import Retention
from ftjax.ablation.sequences.sequence_forgetting import forgetting_of_arm
from ftjax.ablation.statistics import bootstrap
from ftjax.ablation.statistics.comparison import ArmComparison, Comparison
from ftjax.ablation.statistics.mean_interval import Interval, mean_interval
from ftjax.ablation.statistics.row_types import Row, Rows, Summary
from ftjax.evaluation.metric import Metric

Scores = dict[int, float | None]


def summarise_arm(
    arm: str,
    rows: Rows,
    choice: Choice,
    seeds: Sequence[int],
    metric: Metric,
    confidence: float,
    overlap: float = 0.0,
    retention: Retention | None = None,
) -> dict[str, object]:
    """The object of an arm, without its comparison to the reference.

    Args:
      rows: of this arm and task, at all rates.
      choice: its rate.
      seeds: those planned; a run of another seed is left out.
      overlap: of folds; see `statistics.mean_interval`.
      retention: where it is judged what a network keeps; None where nothing asks.
    """
    chosen = {row['seed']: row for row in rows if _at(row, choice) and row['seed'] in seeds}
    scores = {seed: score_of(row, metric) for seed, row in sorted(chosen.items())}
    finished = [score for score in scores.values() if score is not None]
    ok = [row for seed, row in chosen.items() if scores[seed] is not None]
    failed = sum(row['status'] == 'failed' for row in chosen.values())
    undefined = sum(_undefined(row, metric) for row in chosen.values())
    validation = [p.mean for p in choice.curve if p.rate == choice.rate and p.mean is not None]
    kept = {'retention': retained_by_arm(ok, retention, confidence, overlap)} if retention else {}
    trainable, total = _mean(ok, 'params_trainable'), _mean(ok, 'params_total')
    return {
        'arm': arm,
        'n': len(seeds),
        'n_ok': len(finished),
        'n_diverged': len(scores) - len(finished) - failed - undefined,
        'n_failed': failed,
        'n_undefined': undefined,
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
        'iqm': _iqm(finished, confidence, overlap),
        'val_mean': validation[0] if validation else None,
        'difference': None,
        'params_trainable': trainable,
        'params_total': total,
        'trainable_share': trainable / total if total and trainable is not None else None,
        'optimizer_bytes': _mean(ok, 'optimizer_bytes'),
        'wall_seconds': _mean(ok, 'wall_seconds'),
        'step_seconds': _mean(ok, 'step_seconds_median'),
        'step_seconds_interval': _interval(ok, 'step_seconds_median', confidence),
        'step_flops': _mean(ok, 'step_flops'),
        'step_bytes': _mean(ok, 'step_bytes'),
        'depth': next((row['depth'] for row in ok if 'depth' in row), depth_of(arm)),
        'shifts': _shifts(ok, metric, confidence, overlap),
        'movement': _movement(ok),
        'unfamiliar': _unfamiliar(ok, confidence, overlap),
        'forgetting': forgetting_of_arm(ok, confidence),
        **kept,
    }


def difference_of(found: ArmComparison, comparison: Comparison) -> dict[str, Any] | None:
    """The `difference` of an arm; None where it cannot be compared."""
    interval = interval_of(found, comparison)
    if interval is None:
        return None
    return {
        'interval': interval,
        'standard_error': found.standard_error if interval.low is not None else None,
        'probability_better': found.probability_better,
        'verdict': found.verdict,
        'further_seeds': found.further_seeds,
    }


def interval_of(found: ArmComparison, comparison: Comparison) -> Interval | None:
    """A difference with its simultaneous interval; None where there is no difference."""
    if math.isnan(found.difference):
        return None
    known = math.isfinite(found.low)
    return Interval(
        estimate=found.difference,
        low=found.low if known else None,
        high=found.high if known else None,
        n=found.seeds,
        method='simultaneous',
        confidence=1 - comparison.alpha,
    )


def worst_score(arms: Sequence[Summary], higher_is_better: bool) -> float | None:
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


def _at(row: Row, choice: Choice) -> bool:
    rate = row.get('rate')
    if choice.rate is None:
        # Not trained, or no tuning run finished at any rate: then those count as unfinished.
        return row.get('rate') is None or row['status'] != 'ok'
    return rate is not None and abs(rate - choice.rate) <= SAME * choice.rate


def _undefined(row: Row, metric: Metric) -> bool:
    """Whether a run finished and its metric has no value; one that is NaN has diverged."""
    values = row.get('test') or {}
    return row['status'] == 'ok' and all(values.get(name) is None for name in metric.names)


def _iqm(finished: list[float], confidence: float, overlap: float) -> object:
    if not finished:
        return None
    return bootstrap.aggregate([finished], confidence=confidence, overlap=overlap)


def _mean(rows: Rows, key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return int(mean) if all(isinstance(v, int) for v in values) and mean == int(mean) else mean


def _interval(rows: Rows, key: str, confidence: float) -> Interval | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return mean_interval(values, confidence) if values else None


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


def _unfamiliar(rows: Rows, confidence: float, overlap: float) -> dict[str, object]:
    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, scores in (row.get('unfamiliar') or {}).items():
            for score, auroc in scores.items():
                values.setdefault(name, {}).setdefault(score, []).append(auroc)
    return {
        name: {score: mean_interval(found, confidence, overlap) for score, found in scores.items()}
        for name, scores in values.items()
    }


def _movement(rows: Rows) -> dict[str, float]:
    stages = dict.fromkeys(stage for row in rows for stage in row.get('movement') or {})
    return {
        stage: math.fsum(row['movement'].get(stage, 0.0) for row in moved) / len(moved)
        for stage in stages
        if (moved := [row for row in rows if row.get('movement')])
    }
