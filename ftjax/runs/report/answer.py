"""What came out of a run: one sentence, and the table of its metrics beside the baselines."""

from __future__ import annotations

from ftjax.evaluation.metric import Metric, MetricValues
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats
from ftjax.runs.report.report_facts import ReportFacts
from ftjax.tasks import task_of
from ftjax.tasks.task import Task


def task_in(report: ReportFacts) -> Task:
    """The task of a run; the default where its metrics do not say."""
    named = report.result['metrics'].get('task') or report.config.get('data', {}).get('task')
    return task_of(named) if named else task_of()


def deciding(report: ReportFacts) -> Metric:
    """The metric that decides which weights the run keeps, if it was measured on the test split.

    Else the task's own.
    """
    task, metrics = task_in(report), report.result['metrics']
    asked = task.metric((report.config.get('train') or {}).get('metric') or '')
    if asked is not None and asked.value_in(metrics) is not None:
        return asked
    found = task.metric(task.default_metric)
    assert found is not None
    return found


def value_text(value: float | None, metric: Metric) -> str:
    """A value with its unit.

    >>> from ftjax.evaluation.metric import share
    >>> value_text(0.875, share('accuracy'))
    '87.5 %'
    """
    text = number_formats.score(value, metric.name)
    return f'{text} %' if metric.percent and value is not None else text


def interval_of(metrics: MetricValues, metric: Metric) -> tuple[float, float] | None:
    """The 95 % interval of a metric; None where it was not measured."""
    named = (metrics.get(f'{name}_interval') for name in metric.names)
    found = next((each for each in named if each), None)
    return None if found is None or None in found else (float(found[0]), float(found[1]))


def bounds_text(interval: tuple[float, float] | None, metric: Metric) -> str:
    """An interval in brackets, in the unit of the metric."""
    known = None if interval is None else {'low': interval[0], 'high': interval[1]}
    return number_formats.bounds(known, metric.name)


def counted(report: ReportFacts) -> str:
    """How many units the metrics are of: `360 images`."""
    task, metrics = task_in(report), report.result['metrics']
    n, what = metrics.get('n', 0), task.counted
    if what == Task.counted and report.kept is not None:
        what = str(report.kept.about.get('kind', what))
    of = f' in {metrics["texts"]:,} texts' if 'texts' in metrics else ''
    if metrics.get('candidates'):
        of += f', each query among {metrics["candidates"]:,.4g} candidates'
    return f'{n:,} {what if n != 1 else what.removesuffix("s")}{of}'


def answer(report: ReportFacts) -> str:
    """The result in a sentence, with its interval and the best baseline."""
    metrics, metric = report.result['metrics'], deciding(report)
    value = metric.value_in(metrics)
    if not metrics.get('n') or value is None:
        return 'There is no test split: nothing was measured on held-out examples.'
    interval = bounds_text(interval_of(metrics, metric), metric)
    spread = '' if interval == '–' else f' {interval}'
    lower = '' if metric.higher_is_better else ', lower is better'
    sentence = (
        f'Test {metric.label} {value_text(value, metric)}{spread} on {counted(report)}{lower}'
    )
    best = best_baseline(report, metric)
    if best is not None:
        sentence += f'; {best[0]} has {value_text(best[1], metric)}'
    return sentence + '.'


def best_baseline(report: ReportFacts, metric: Metric) -> tuple[str, float] | None:
    """Name and value of the best of the baselines; None where there is none."""
    known = [(name, values.get(metric.name)) for name, values in baselines(report).items()]
    valued = [(name, float(value)) for name, value in known if value is not None]
    return max(valued, key=lambda one: metric.sign * one[1], default=None)


def baselines(report: ReportFacts) -> dict[str, JsonObject]:
    """Metrics of what costs no training, by name."""
    kept = report.kept
    if kept is None:
        return {}
    return {str(one['name']): one['metrics'] for one in kept.about['baselines']}


def metric_table(report: ReportFacts) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every metric on the test split, its interval, validation, baselines."""
    metrics, validation = report.result['metrics'], report.result.get('validation') or {}
    others = baselines(report)
    header = ['metric', 'test', '95 % interval', 'validation', *others]
    rows = []
    for metric in task_in(report).metrics:
        value = metric.value_in(metrics)
        if value is None:
            continue
        name = metric.label + ('' if metric.higher_is_better else ' (lower is better)')
        beside = [validation.get(metric.name), *(o.get(metric.name) for o in others.values())]
        cells = [value_text(value, metric), bounds_text(interval_of(metrics, metric), metric)]
        rows.append([name, *cells, *(value_text(each, metric) for each in beside)])
    return header, rows
