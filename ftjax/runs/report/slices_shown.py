"""The parts of the test split on which a run does worse than on the rest."""

from __future__ import annotations

from ftjax.evaluation.slices import FEWEST, slices
from ftjax.pages.elements import paragraph, table
from ftjax.plotting import number_formats
from ftjax.runs.report.answer import bounds_text, task_in, value_text
from ftjax.runs.report.report_facts import ReportFacts

_LISTED = 50
"""Rows of a table, at most."""


def slices_shown(report: ReportFacts) -> str:
    """The section of a page; '' where no part can be told."""
    if report.kept is None or not report.kept.found.rows:
        return ''
    ratio = task_in(report).ratio(report.kept.found)
    groups = report.kept.found.rows.get('group')
    found = [] if ratio is None else slices(ratio, report.kept.columns, groups)
    if ratio is None or not found:
        return ''
    metric = ratio.metric
    ranked = sorted(found, key=lambda one: (not one.worse(metric.sign), one.column))
    rows = [
        [
            f'{one.column}: {one.level}',
            f'{one.n:,}',
            value_text(one.value, metric),
            bounds_text(one.interval, metric),
            value_text(one.rest, metric),
            number_formats.p_value(one.p),
            'worse than the rest' if one.worse(metric.sign) else '',
        ]
        for one in ranked[:_LISTED]
    ]
    lower = '' if metric.higher_is_better else ', lower is better'
    title = f'{metric.label}{lower}'
    header = ['part', 'examples', title, 'interval', 'the rest', 'p', '']
    said = (
        f'{len(found)} parts were looked at: the intervals hold together at 95 %, and p is '
        'multiplied by their number (Bonferroni). p: that a part is as the rest of the split '
        '(Fisher’s exact test of shares, else Welch’s t).'
    )
    if groups is not None:
        said += (
            ' Intervals and p are of groups (data.group_column, data.group_pattern): a part of '
            f'fewer than {FEWEST}, or with fewer in the rest, has neither and is not counted.'
        )
    return table(header, rows) + paragraph(said, 'legend')
