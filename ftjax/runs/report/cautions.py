"""What a careful colleague would say of a run before its number is used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ftjax.evaluation.metric import Metric
from ftjax.io.json.json_values import JsonObject
from ftjax.runs.report.answer import (
    baselines,
    best_baseline,
    deciding,
    interval_of,
    value_text,
)
from ftjax.runs.report.report_facts import ReportFacts

WIDE = 0.05
"""Half of an interval of a share, above which a test split is called small."""
NARROW = 0.02
"""Half of an interval that more test examples are counted for."""


def cautions(report: ReportFacts) -> list[str]:
    """Sentences, the most serious first."""
    return [
        *_integrity(report),
        *_data(report),
        *_test_split(report),
        *_of_training(report),
    ]


def _integrity(report: ReportFacts) -> Iterator[str]:
    result = report.result
    if result.get('frozen_unchanged') is False:
        moved = ', '.join(map(str, result.get('moved_frozen', [])[:3]))
        yield f'Frozen leaves moved ({moved}): the plan did not hold; do not use this run.'
    for path in result.get('still_trainable', [])[:3]:
        yield f'{path} was to train and has not moved.'
    if result.get('data_changed'):
        yield f'{result["data_changed"]}: the numbers are of no one data set.'
    if result.get('identity_changes'):
        yield (
            'The run went on under other inputs, versions or code than it began with: see '
            'identity_changes in result.json.'
        )
    if result.get('steps_skipped'):
        yield (
            f'{result["steps_skipped"]} steps were skipped for a loss or gradient that is no '
            'number: the learning rate is on the edge of what is stable.'
        )
    git = (result.get('provenance') or {}).get('git') or {}
    if git.get('dirty'):
        yield 'The code differs from the commit that is named below: it was not committed.'


def _data(report: ReportFacts) -> Iterator[str]:
    for note in (report.result.get('data') or {}).get('notes', []):
        yield f'Data: {note}.'


def _test_split(report: ReportFacts) -> Iterator[str]:
    metrics, metric = report.result['metrics'], deciding(report)
    value, n = metric.value_in(metrics), metrics.get('n', 0)
    if value is None or not n:
        return
    interval = interval_of(metrics, metric)
    groups = metrics.get('groups')
    if interval is None and n == 1:
        yield 'There is no interval: one test example says nothing of the next.'
    elif interval is None and groups == 1:
        yield 'There is no interval: all test examples are of one group.'
    elif interval is None:
        yield (
            f'There is no interval of {metric.label}: by how much another choice of test examples '
            'would change it is not known.'
        )
    else:
        low, high = interval
        best = best_baseline(report, metric)
        worse, better = sorted((metric.sign * low, metric.sign * high))
        if best is not None and metric.sign * best[1] >= worse:
            reached = f'what {best[0]} reaches ({value_text(best[1], metric)})'
            yield (
                f'The whole interval is worse than {reached}: so is the network.'
                if metric.sign * best[1] > better
                else f'The interval holds {reached}: on {n:,} test examples the network is not '
                'significantly better.'
            )
        if metric.percent and (high - low) / 2 > WIDE:
            half, what = (high - low) / 2, 'groups' if groups else 'examples'
            # Width falls with the root of the number of what is resampled.
            needed = round((groups or n) * (half / NARROW) ** 2)
            of = f' of {groups:,} groups' if groups else ''
            yield (
                f'{n:,} test examples{of} are few: another run must differ by about '
                f'{140 * half:.0f} points to be told apart from this one. About {needed:,} '
                f'{what} give an interval of ± {100 * NARROW:.0f} points.'
            )
    yield from _splits_disagree(report, metric, value, interval)
    yield from _imbalance(report, metric)


def _splits_disagree(
    report: ReportFacts, metric: Metric, value: float, interval: tuple[float, float] | None
) -> Iterator[str]:
    validation = (report.result.get('validation') or {}).get(metric.name)
    sizes = report.kept.about['splits'] if report.kept is not None else {}
    tested, validated = sizes.get('test', 0), sizes.get('validation', 0)
    if validation is None or interval is None or not tested or not validated:
        return
    # The interval of a difference of two samples, from that of the one.
    reach = max(value - interval[0], interval[1] - value) * math.sqrt(1 + tested / validated)
    if abs(validation - value) > reach:
        better = metric.sign * (validation - value) > 0
        why = (
            'the weights were chosen by validation, which flatters it, or the splits are of '
            'different kinds'
            if better
            else 'the splits are of different kinds'
        )
        yield (
            f'Validation ({value_text(validation, metric)}) and test ({value_text(value, metric)}) '
            f'disagree by more than chance: {why}.'
        )


def _imbalance(report: ReportFacts, metric: Metric) -> Iterator[str]:
    outputs = report.kept.about.get('outputs', 0) if report.kept is not None else 0
    if not metric.percent or 'balanced_accuracy' not in report.result['metrics'] or outputs < 2:
        return
    for name, values in baselines(report).items():
        share = values.get(metric.name)
        if share is not None and share >= max(0.5, 1.3 / outputs):
            yield (
                f'The classes are uneven: {name} already has {value_text(share, metric)} '
                f'{metric.label}. Read balanced accuracy and the recall of each class.'
            )


def _of_training(report: ReportFacts) -> Iterator[str]:
    for said in _training(report):
        # Of several runs, or of one and its start, the history is that of the first run.
        averaged = report.result.get('averaged')
        yield f'The first run: {said[0].lower()}{said[1:]}' if averaged else said


def _training(report: ReportFacts) -> Iterator[str]:
    history, result = report.history, report.result
    kept = report.kept.about if report.kept is not None else {}
    planned, steps = kept.get('steps_planned'), result['steps']
    if result.get('stopped_early') and planned:
        per_epoch = kept.get('steps_per_epoch') or 1
        yield (
            f'Training stopped early after {steps / per_epoch:.4g} of {planned / per_epoch:.4g} '
            'epochs (train.patience): the schedule did not reach its lowest rates.'
        )
    training, validation = _column(history, 'train_loss'), _column(history, 'val_loss')
    if len(training) < 3 or len(validation) < 3:
        return
    at_end = result.get('best_step') == history[-1]['step'] and not result.get('stopped_early')
    if at_end and validation[-1] < 0.99 * validation[-2]:
        yield (
            'The best validation is the last one, and the validation loss was still falling: a '
            'longer run may be better.'
        )
    if max(training) > 1.5 * training[0] > 0:
        rate = (report.config.get('optimizer') or {}).get('learning_rate', '?')
        yield (
            f'The training loss rose above its beginning on the way: the learning rate ({rate}) is '
            'on the edge of what is stable; try a lower one.'
        )
    if validation[-1] > 1.2 * min(validation) and validation[-1] > 2 * training[-1]:
        yield (
            'The validation loss has risen from its lowest while the training loss fell: the '
            'network learns its training examples by heart.'
        )


def _column(history: Sequence[JsonObject], key: str) -> list[float]:
    return [float(row[key]) for row in history if row.get(key) is not None]
