"""From the rows of runs.jsonl to the numbers of a table: summary.json.

A row is one run. Read here: `arm`, `rate` (null: not trained), `seed`, `status` ('ok',
'diverged' or 'failed'), `val` and `test` (metric to number); and where present `task`
(default 'all'), `retries` (of a cell that had failed), `data_fingerprint` and `test_fingerprint`
(of all splits, and of the test split), `examples` (scores of the test examples, packed), `tried`
(rates of all trials of the arm, where a sampler drew them or short runs were among them), `chosen`
(the rate that a race chose, from more seeds than all rates have), `shifts` (name of a further test
set to its metrics), `unfamiliar` (name of a further test set to the AUROC of each score that tells
it from the own one), `movement` (stage to how far it moved), `depth`, `params_trainable`,
`params_total`, `optimizer_bytes`, `wall_seconds`, `step_seconds_median`, `step_flops`,
`step_bytes`, `vectorised` (rates that shared its program), `workers` (runs at a time).

summary.json (`schema` 1):
  question, metric, val_metric, higher_is_better (of the metric), val_higher_is_better,
  reference, confidence, margin, retention ({of (a further test set), metric, higher_is_better,
  margin, before (an arm)}, where it is asked for), outside_prior (arms), seeds, n_runs,
  total_wall_seconds (both of the rows given, all rates among them; with `tune`, a drawn search or
  a race these are runs of what arms chose, and others were made besides), caveats (sentences),
  folds (where there are any), vectorised (arms whose runs shared programs, where there are any),
  workers (the most runs at a time, where there were several), retried (runs that had failed
  before, where there are any),
  tasks: one object a task: task, arms, each an object as `arm` describes, and sources, as
  `uncertainty` describes, where rows tell of test examples,
  overall: null for one task, else as `overall` describes,
  races: {task: see racing/account.described}, where arms raced within a budget; differences are
  then those of the look that decided the arm, or of the last one.
Intervals are objects {estimate, low, high, n, method, confidence}; bounds are null where
there are too few seeds for any.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ftjax.ablation.grid.rows import STATUSES
from ftjax.ablation.racing.account import comparison_told
from ftjax.ablation.rates.choice import Choice, choose_rate, rate_curve
from ftjax.ablation.rates.parabola import estimate_rate
from ftjax.ablation.retention.retention import Retention
from ftjax.ablation.statistics.comparison import compare_arms, options_of
from ftjax.ablation.statistics.margin import default_margin
from ftjax.ablation.statistics.mean_interval import overlap_of
from ftjax.ablation.statistics.row_types import Row, Rows, Summary
from ftjax.ablation.summary.arm import difference_of, interval_of, summarise_arm
from ftjax.ablation.summary.caveats import caveats
from ftjax.ablation.summary.coverage import covered
from ftjax.ablation.summary.leaks import leaked
from ftjax.ablation.summary.overall import CAVEAT, summarise_overall
from ftjax.ablation.summary.uncertainty import sources_of
from ftjax.errors import UserError, check_name
from ftjax.evaluation.metric import Metric
from ftjax.io.files.atomic import read_json, to_jsonable
from ftjax.io.json.stored_fields import check_fields_of
from ftjax.tasks.metrics import metric_of


def summarise(
    rows: Rows,
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
    margin: float | None = None,
    outside_prior: Collection[str] = (),
    folds: int = 0,
    question: str = '',
    races: Mapping[str, Mapping[str, object]] | None = None,
    retention: Retention | None = None,
) -> dict[str, object]:
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
      floor: score that an unfinished run counts as in IQM and profile over tasks; the worst
        score of the task when left out.
      confidence: probability content of intervals; 1 minus it is the level of the verdicts.
      margin: differences up to this one do not matter; a hundredth of the metric's range when left
        out, 0 where that has no bounds.
      outside_prior: arms whose variance tells nothing of the others', such as baselines.
      folds: of cross-validation, if the seeds are folds: their training sets overlap, and
        intervals and verdicts allow for it.
      question: what the ablation asks; a sentence.
      races: what is told of the race of each task, where there were any.
      retention: where it is judged what a network keeps, where that is asked.

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
    overlap = overlap_of(folds)
    tasks = []
    for task in dict.fromkeys(row.get('task', 'all') for row in rows):
        of_task = [row for row in rows if row.get('task', 'all') == task]
        planned = sorted(seeds if seeds is not None else {row['seed'] for row in of_task})
        summaries = []
        for arm in arms:
            of_arm = [row for row in of_task if row['arm'] == arm]
            choice = _choose(of_arm, **selection)
            ran = {row['seed'] for row in of_arm}
            # Seeds that an arm did not get, because a race had decided it, are not missing.
            own = [seed for seed in planned if seed in ran] if races and ran else planned
            given = (arm, of_arm, choice, own, metric, confidence, overlap, retention)
            summaries.append(summarise_arm(*given))
            better = val_metric.higher_is_better
            known = {'confidence': confidence, 'overlap': overlap}
            estimate = estimate_rate(choice, higher_is_better=better, **known)
            summaries[-1]['rate_estimate'] = estimate
        tasks.append({'task': task, 'arms': summaries})
        sources = sources_of(of_task, summaries, reference, metric, overlap)
        if sources is not None:
            tasks[-1]['sources'] = sources
    summary: dict[str, object] = {
        'schema': 1,
        'question': question,
        'metric': metric.name,
        'val_metric': val_metric.name,
        'higher_is_better': higher_is_better,
        'val_higher_is_better': val_metric.higher_is_better,
        'reference': reference,
        'confidence': confidence,
        'margin': default_margin(metric) if margin is None else margin,
        'outside_prior': [arm for arm in arms if arm in outside_prior],
        'seeds': sorted(seeds if seeds is not None else {row['seed'] for row in rows}),
        'n_runs': len({_cell(row) for row in rows}),
        'total_wall_seconds': sum(row.get('wall_seconds') or 0.0 for row in rows),
        'caveats': [],
        'tasks': tasks,
        'overall': None,
    }
    if folds:
        summary['folds'] = folds
    if tuning_seeds is not None and set(tuning_seeds) < set(seeds or ()):
        summary['tuning_seeds'] = list(tuning_seeds)
    if races:
        summary['races'] = races
    if retention is not None:
        summary['retention'] = retention.told
    for task in tasks:
        _compare(task['arms'], summary)
        _take_raced(task, summary)
    if len(tasks) > 1:
        summary['overall'] = summarise_overall(summary, floor)
    shared = dict.fromkeys(row['arm'] for row in rows if row.get('vectorised'))
    if shared:
        summary['vectorised'] = list(shared)
    workers = max((row.get('workers', 1) for row in rows), default=1)
    if workers > 1:
        summary['workers'] = workers
    retried = sum(bool(row.get('retries')) for row in rows)
    if retried:
        summary['retried'] = retried
    together = [CAVEAT] if summary['overall'] else []
    known = [*leaked(rows), *caveats(summary)]
    summary['caveats'] = [*known, *together, *covered(rows, folds)]
    return to_jsonable(summary)


def read_summary(path: str | os.PathLike[str]) -> Summary:
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


def _choose(
    rows: Rows,
    *,
    metric: Metric,
    tolerance: float,
    tuning_seeds: Sequence[int] | None,
) -> Choice:
    curve = rate_curve(rows, metric, tuning_seeds)
    tried = rows[0].get('tried', ()) if rows else ()
    found = choose_rate(
        curve, higher_is_better=metric.higher_is_better, tolerance=tolerance, tried=tried
    )
    raced = rows[0].get('chosen') if rows else None
    if raced is None:
        return found
    edge = {min(tried): 'low', max(tried): 'high'}.get(raced) if len(tried) > 1 else None
    return dataclasses.replace(found, rate=raced, edge=edge)


def _compare(arms: Sequence[dict[str, Any]], summary: Summary) -> None:
    """Adds to every arm how it differs from the reference, on further test sets too."""
    reference, options = summary['reference'], options_of(summary)
    found = compare_arms({arm['arm']: arm['seeds'] for arm in arms}, reference, **options)
    others = [arm for arm in arms if arm['arm'] != reference]
    for arm in others:
        arm['difference'] = difference_of(found[arm['arm']], found)
    for name in dict.fromkeys(name for arm in arms for name in arm['shifts']):
        scores = {arm['arm']: arm['shifts'].get(name, {'seeds': {}})['seeds'] for arm in arms}
        shifted = compare_arms(scores, reference, **options)
        for arm in others:
            if name in arm['shifts']:
                arm['shifts'][name]['difference'] = interval_of(shifted[arm['arm']], shifted)
    less_is_better = {**options, 'higher_is_better': False}
    for name in dict.fromkeys(name for arm in arms for name in arm['forgetting']):
        lost = {arm['arm']: arm['forgetting'].get(name, {'seeds': {}})['seeds'] for arm in arms}
        forgot = compare_arms(lost, reference, **less_is_better)
        for arm in others:
            if name in arm['forgetting']:
                arm['forgetting'][name]['difference'] = interval_of(forgot[arm['arm']], forgot)
    if 'retention' in summary:
        _compare_kept(arms, summary)


def _compare_kept(arms: Sequence[dict[str, Any]], summary: Summary) -> None:
    """Adds to every arm how it changed what `retention` measures, since before it was trained."""
    told = summary['retention']
    options = {key: told[key] for key in ('higher_is_better', 'margin')}
    kept = {arm['arm']: (arm['retention'] or {'seeds': {}})['seeds'] for arm in arms}
    if not kept.get(told['before']):
        return
    found = compare_arms(kept, told['before'], **{**options_of(summary), **options})
    for arm in arms:
        if arm['retention'] and arm['arm'] != told['before']:
            arm['retention']['change'] = difference_of(found[arm['arm']], found)


def _take_raced(task: Summary, summary: Summary) -> None:
    """Puts the verdicts of a race in place of those that look at its scores once more.

    Looks have spent alpha; an arm that stopped keeps the interval of the look that decided it.
    """
    told = _race_of(task, summary)
    if told is None:
        return
    for arm in task['arms']:
        if arm['arm'] in told['verdicts']:
            arm['difference'] = difference_of(*comparison_told(told, arm['arm']))
        elif arm['difference'] is not None:
            arm['difference'] = {**arm['difference'], 'verdict': 'undecided'}


def _race_of(task: Summary, summary: Summary) -> Mapping[str, Any] | None:
    races = summary.get('races') or {}
    return races.get(task['task'], races.get(''))


def _cell(row: Row) -> tuple[object, ...]:
    return row.get('task', 'all'), row['arm'], row.get('rate'), row['seed']
