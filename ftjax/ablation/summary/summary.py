"""From the rows of runs.jsonl to the numbers of a table: summary.json.

A row is one run. Read here: `arm`, `rate` (null: not trained), `seed`, `status` ('ok',
'diverged' or 'failed'), `val` and `test` (metric to number); and where present `task`
(default 'all'), `retries` (of a cell that had failed), `data_fingerprint` and `test_fingerprint`
(of all splits, and of the test split), `tried` (rates of all trials of the arm, where a
sampler drew them), `shifts` (name of a further test set to its metrics),
`movement` (stage to how far it moved), `depth`, `params_trainable`, `params_total`,
`optimizer_bytes`, `wall_seconds`, `step_seconds_median`, `step_flops`, `peak_memory_bytes`.

summary.json (`schema` 1):
  question, metric, val_metric, higher_is_better (of the metric), val_higher_is_better,
  reference, confidence, seeds, n_runs,
  total_wall_seconds (of all runs, the search included), caveats (sentences), folds (where
  there are any), vectorised (arms whose runs shared programs, where there are any), retried
  (runs that had failed before, where there are any),
  tasks: one object a task: task, and arms, each an object as `summary_arm` describes,
  overall: null for one task, else as `summary_overall` describes,
  races: {task: see racing/account.described}, where arms raced within a budget.
Intervals are objects {estimate, low, high, n, method, confidence}; bounds are null where
there are too few seeds for any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.grid.rows import STATUSES
from ftjax.ablation.rates.choice import Choice, choose_rate, rate_curve
from ftjax.ablation.rates.parabola import estimate_rate
from ftjax.ablation.statistics.paired import holm
from ftjax.ablation.summary.arm import (
    add_comparison,
    summarise_arm,
    worst_score,
)
from ftjax.ablation.summary.coverage import covered
from ftjax.ablation.summary.overall import summarise_overall
from ftjax.errors import UserError, check_name
from ftjax.evaluation.metric import Metric
from ftjax.io.files.atomic import read_json, to_jsonable
from ftjax.io.json.stored_fields import check_fields_of
from ftjax.tasks.metrics import metric_of


def summarise(
    rows: Sequence[Mapping[str, Any]],
    *,
    reference: str,
    metric: str | Metric = 'accuracy',
    val_metric: str | Metric | None = None,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    tuning_seeds: Sequence[int] | None = None,
    tolerance: float = 0.0,
    floor: float | None = None,
    confidence: float = 0.95,
    folds: int = 0,
    question: str = '',
) -> dict[str, Any]:
    """Everything that tables, figures and the report show, ready for JSON.

    Args:
      rows: as read from runs.jsonl; of rows of the same cell the last one counts.
      reference: the arm that the others are compared with.
      metric: of the test splits; what is reported. A name stands for the known metric.
      val_metric: of the validation split; what chooses the rate (default: `metric`).
      arms: their order; that of their first rows when left out. Arms named here that have no
        row are shown as missing; rows of other arms do not count.
      seeds: the seeds that were planned; the union of those run when left out. Rows of other
        seeds do not count: neither for the rates nor for anything else.
      tuning_seeds: the seeds that choose the rate; all that every rate was run with when
        left out.
      tolerance: see `choose_rate`.
      floor: score that an unfinished run counts as where it must count as something (the
        probability of improvement, aggregates over tasks); the worst score of the task when
        left out.
      confidence: probability content of intervals; 1 minus it is the level of the verdicts.
      folds: of cross-validation, if the seeds are folds: their training sets overlap, and the
        t intervals and tests allow for it.
      question: what the ablation asks; a sentence.

    Raises:
      UserError: no rows, an unknown reference or status, or a metric that rows do not have.
    """
    if not rows:
        raise UserError('no finished runs to summarise')
    metric = metric_of(metric)
    val_metric = metric if val_metric is None else metric_of(val_metric)
    higher_is_better = metric.higher_is_better
    arms = list(arms) if arms else list(dict.fromkeys(row['arm'] for row in rows))
    check_name(reference, arms, 'reference arm')
    rows = [r for r in rows if r['arm'] in arms and (seeds is None or r['seed'] in seeds)]
    if not rows:
        raise UserError('no finished runs to summarise: none is of the arms and seeds named')
    for row in rows:
        check_name(row['status'], STATUSES, f'status of a run of arm {row["arm"]!r}')
    selection = {
        'metric': val_metric,
        'tolerance': tolerance,
        'tuning_seeds': tuning_seeds,
    }
    overlap = 1 / (folds - 1) if folds else 0.0
    tasks = []
    for task in dict.fromkeys(row.get('task', 'all') for row in rows):
        of_task = [row for row in rows if row.get('task', 'all') == task]
        planned = sorted(seeds if seeds is not None else {row['seed'] for row in of_task})
        summaries = []
        for arm in arms:
            of_arm = [row for row in of_task if row['arm'] == arm]
            choice = _choose(of_arm, **selection)
            summaries.append(
                summarise_arm(arm, of_arm, choice, planned, metric, confidence, overlap)
            )
            better = val_metric.higher_is_better
            estimate = estimate_rate(choice, higher_is_better=better, confidence=confidence)
            summaries[-1]['rate_estimate'] = estimate
        _compare(summaries, reference, higher_is_better, floor, confidence, overlap)
        tasks.append({'task': task, 'arms': summaries})
    overall = None
    if len(tasks) > 1:
        overall = summarise_overall(
            tasks,
            reference,
            higher_is_better=higher_is_better,
            floor=floor,
            confidence=confidence,
        )
    summary = {
        'schema': 1,
        'question': question,
        'metric': metric.name,
        'val_metric': val_metric.name,
        'higher_is_better': higher_is_better,
        'val_higher_is_better': val_metric.higher_is_better,
        'reference': reference,
        'confidence': confidence,
        'seeds': sorted(seeds if seeds is not None else {row['seed'] for row in rows}),
        'n_runs': len({_cell(row) for row in rows}),
        'total_wall_seconds': sum(row.get('wall_seconds') or 0.0 for row in rows),
        'caveats': [],
        'tasks': tasks,
        'overall': overall,
    }
    if folds:
        summary['folds'] = folds
    shared = dict.fromkeys(row['arm'] for row in rows if row.get('vectorised'))
    if shared:
        summary['vectorised'] = list(shared)
    retried = sum(bool(row.get('retries')) for row in rows)
    if retried:
        summary['retried'] = retried
    summary['caveats'] = [*caveats(summary), *covered(rows, folds)]
    return to_jsonable(summary)


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A summary.json, for tables, figures and the report.

    Raises:
      UserError: no such file, or a field that they need is missing or of another type.
    """
    where, found = os.fspath(path), read_json(path)
    fields = {'metric': str, 'val_metric': str, 'higher_is_better': bool, 'reference': str}
    fields |= {'question': str, 'confidence': float, 'seeds': list, 'caveats': list, 'tasks': list}
    check_fields_of(found, where, fields)
    for number, task in enumerate(found['tasks']):
        inside = f'{where}: tasks[{number}]'
        check_fields_of(task, inside, {'task': str, 'arms': list})
        for place, arm in enumerate(task['arms']):
            named = f'{inside}.arms[{place}]'
            check_fields_of(arm, named, {'arm': str, 'n': int, 'seeds': dict, 'curve': list})
            if arm.get('mean') is not None:
                check_fields_of(arm, named, {'mean.estimate': float})
    return found


def caveats(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the table; sentences, the gravest first."""
    found = []
    for task in summary['tasks']:
        where = '' if len(summary['tasks']) == 1 else f' on {task["task"]}'
        for arm in task['arms']:
            if arm['n_unfinished']:
                found.append(
                    f'{arm["arm"]}{where}: {arm["n_unfinished"]} of {arm["n"]} runs '
                    f'{_how_unfinished(arm)}; its mean is over the others and may flatter it.'
                )
            if arm['n_missing']:
                found.append(
                    f'{arm["arm"]}{where}: {arm["n_missing"]} of {arm["n"]} runs are missing.'
                )
            if arm['rate_edge']:
                found.append(
                    f'{arm["arm"]}{where}: the best rate {arm["rate"]:g} is the '
                    f'{arm["rate_edge"]}est that was tried; a better one may lie beyond.'
                )
        trials = {arm['n_trials'] for arm in task['arms'] if arm['rate'] is not None}
        if len(trials) > 1:
            counts = ', '.join(str(n) for n in sorted(trials))
            found.append(f'Arms{where} were tuned with unequal numbers of rates ({counts}).')
        if trials == {1}:
            found.append(f'Every arm{where} was run at one rate: none was tuned.')
    n, folds = len(summary['seeds']), summary.get('folds')
    if folds:
        found.append(
            f'{folds}-fold cross-validation: what is called a seed is one fold of one seed, '
            f'{n} in all. Training sets of folds overlap: t intervals and p values allow for it '
            '(Nadeau and Bengio 2003), bootstrap intervals do not.'
        )
    if summary.get('vectorised'):
        found.append(
            f'Runs of {", ".join(summary["vectorised"])} shared programs, several rates at a '
            'time: their times and FLOPs are shares, lower than those of a run alone.'
        )
    if summary.get('retried'):
        count = summary['retried']
        found.append(
            f'{count} run{"s" if count > 1 else ""} had failed before and '
            f'{"were" if count > 1 else "was"} tried again (--retry_failed).'
        )
    if n == 1:
        found.append('Only 1 seed: there are no intervals, and any difference may be chance.')
    elif n < 5:
        found.append(
            f'Only {n} seeds: intervals are wide, and a difference that is not told apart may '
            'still be real.'
        )
    return found


def _choose(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: Metric,
    tolerance: float,
    tuning_seeds: Sequence[int] | None,
) -> Choice:
    curve = rate_curve(rows, metric, tuning_seeds)
    return choose_rate(
        curve,
        higher_is_better=metric.higher_is_better,
        tolerance=tolerance,
        tried=rows[0].get('tried', ()) if rows else (),
    )


def _compare(
    arms: list[dict[str, Any]],
    reference: str,
    higher_is_better: bool,
    floor: float | None,
    confidence: float,
    overlap: float,
) -> None:
    """Adds to every arm how it differs from the reference, the p values as one family."""
    partner = next(arm for arm in arms if arm['arm'] == reference)
    worst = worst_score(arms, higher_is_better) if floor is None else floor
    for arm in arms:
        add_comparison(arm, partner, higher_is_better, worst, confidence, overlap)
    others = [arm['difference'] for arm in arms if arm['difference'] is not None]
    for difference, adjusted in zip(others, holm([d['p'] for d in others]), strict=True):
        difference['p_holm'] = adjusted
        difference['verdict'] = verdict(difference, higher_is_better, confidence)


def verdict(difference: Mapping[str, Any], higher_is_better: bool, confidence: float) -> str:
    """'better', 'worse', 'not told apart', or 'no verdict' where no test can be made."""
    p, mean = difference['p_holm'], difference['interval'].estimate
    if p is None:
        return 'no verdict'
    if p >= 1 - confidence:
        return 'not told apart'
    return 'better' if (mean > 0) == higher_is_better else 'worse'


def _how_unfinished(arm: Mapping[str, Any]) -> str:
    parts = [(arm['n_diverged'], 'diverged'), (arm['n_failed'], 'failed')]
    if all(count for count, _ in parts):
        return f'diverged ({arm["n_diverged"]}) or failed ({arm["n_failed"]})'
    return next(word for count, word in parts if count)


def _cell(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get('task', 'all'), row['arm'], row.get('rate'), row['seed']
