"""table.md: the summary as a table to read, paste and commit."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.gates.gates import HOW_GATES_PASS, gate_rows
from ftjax.ablation.report.column_meanings import column_meanings, how_computed
from ftjax.ablation.report.executive_answer import answer
from ftjax.ablation.report.forgetting_table import forgetting_table
from ftjax.ablation.report.uncertainty_table import uncertainty_table
from ftjax.ablation.report.unfamiliar_table import unfamiliar_table
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.files.atomic import write_json, write_text
from ftjax.plotting import number_formats
from ftjax.printable import in_markdown

Cells = list[tuple[str, Callable[[Mapping[str, Any]], str]]]


def write_summary(folder: str | os.PathLike[str], summary: Summary) -> None:
    """Writes summary.json and table.md into a folder, each whole or not at all."""
    folder = pathlib.Path(folder)
    write_json(folder / 'summary.json', summary)
    write_text(folder / 'table.md', table_markdown(summary))


def told_tables(
    task: Summary, summary: Summary
) -> Iterator[tuple[str, list[str], list[list[str]]] | None]:
    """Tables with a sentence each, of what a summary may hold; None for what it does not."""
    for table in (forgetting_table, unfamiliar_table, uncertainty_table):
        yield table(task, summary)


def table_markdown(summary: Summary) -> str:
    """The answer, the tables of all tasks and over them, what columns mean, and caveats."""
    parts = []
    if summary['question']:
        parts.append(f'**{in_markdown(summary["question"])}**')
    parts.append(in_markdown(' '.join(answer(summary))))
    for task in summary['tasks']:
        if len(summary['tasks']) > 1:
            parts.append(f'### {in_markdown(task["task"])}')
        parts.append(markdown(*task_table(task, summary)))
        if task is summary['tasks'][0]:
            parts.append(_columns(summary, task_table(task, summary)[0]))
            parts.append(in_markdown(how_computed(summary)))
        shifts = shift_table(task, summary)
        if shifts is not None:
            parts.append('Other test sets:')
            parts.append(markdown(*shifts))
        for told in told_tables(task, summary):
            if told is not None:
                parts.append(in_markdown(told[0]))
                parts.append(markdown(*told[1:]))
    if summary['overall'] and summary['overall']['arms']:
        parts.append('### All tasks together')
        parts.append(markdown(*overall_table(summary)))
        parts.append(_columns(summary, overall_table(summary)[0]))
    if summary.get('gates'):
        header = ['gate', 'kind', 'value', 'interval', 'outcome']
        parts.append(markdown(header, gate_rows(summary['gates'])))
        parts.append(HOW_GATES_PASS)
    parts.append('\n'.join(f'- {in_markdown(caveat)}' for caveat in summary['caveats']))
    return '\n\n'.join(parts) + '\n'


def task_table(task: Summary, summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one task; columns that no arm has a number for are left out."""
    metric, reference = summary['metric'], summary['reference']
    level = f'{100 * summary["confidence"]:g} %'
    columns: Cells = [
        ('arm', lambda arm: arm['arm'] + (' (reference)' if arm['arm'] == reference else '')),
        ('finished runs', _runs),
        (number_formats.headed(summary), lambda arm: number_formats.score(_mean(arm), metric)),
        (f'{level} interval', lambda arm: number_formats.bounds(arm['mean'], metric, clip=True)),
        (f'difference to {reference}', lambda arm: _difference(arm, metric)),
        ('P(better)', lambda arm: chance(arm['difference'])),
        ('verdict', lambda arm: verdict(arm['difference'], summary)),
        ('learning rate', lambda arm: number_formats.rate(arm['rate'], arm['rate_edge'])),
        ('trained parameters', lambda arm: number_formats.count(arm['params_trainable'])),
        ('share trained', lambda arm: number_formats.share(arm['trainable_share'])),
        ('time of a step', lambda arm: _time(arm, 'step_seconds', summary)),
        ('duration of a run', lambda arm: _time(arm, 'wall_seconds', summary)),
    ]
    return _table(columns, task['arms'], keep=4)


def shift_table(task: Summary, summary: Summary) -> tuple[list[str], list[list[str]]] | None:
    """Mean on every further test set by arm, with the interval; None where there is none."""
    names = list(dict.fromkeys(name for arm in task['arms'] for name in arm['shifts']))
    if not names:
        return None
    metric = summary['metric']

    def cell(arm: Summary, name: str) -> str:
        found = arm['shifts'].get(name)
        if found is None:
            return '–'
        value = number_formats.score(found['mean']['estimate'], metric)
        return f'{value} {number_formats.bounds(found["mean"], metric, clip=True)}'

    def headed(name: str) -> str:
        counts = [arm['shifts'].get(name, {}).get('n') for arm in task['arms']]
        known = [count for count in counts if count]  # rows of early versions do not tell
        return f'{name} (n = {max(known):,})' if known else name

    header = ['arm', *map(headed, names)]
    return header, [[arm['arm'], *(cell(arm, name) for name in names)] for arm in task['arms']]


def overall_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows over all tasks: mean, IQM, difference, P(better), verdict."""
    metric, reference = summary['metric'], summary['reference']
    title = number_formats.headed(summary).removeprefix('test ')

    def with_bounds(interval: Summary | None) -> str:
        if interval is None:
            return '–'
        value = number_formats.score(interval['estimate'], metric)
        bounds = number_formats.bounds(interval, metric, clip=True)
        return value if bounds == '–' else f'{value} {bounds}'

    columns: Cells = [
        ('arm', lambda arm: arm['arm']),
        ('finished runs', lambda arm: f'{arm["n_runs"] - arm["n_unfinished"]} of {arm["n_runs"]}'),
        (f'mean {title}', lambda arm: with_bounds(arm['mean'])),
        (f'IQM {title}', lambda arm: with_bounds(arm['iqm'])),
        (f'difference to {reference}', lambda arm: _difference(arm, metric)),
        ('P(better)', lambda arm: chance(arm['difference'])),
        ('verdict', lambda arm: verdict(arm['difference'], summary)),
    ]
    return _table(columns, summary['overall']['arms'], keep=4)


def chance(difference: Summary | None) -> str:
    """The probability that an arm is better, in two digits."""
    if difference is None or difference['standard_error'] is None:
        return '–'
    found = difference['probability_better']
    return '<0.01' if found < 0.01 else '>0.99' if found > 0.99 else f'{found:.2f}'


def verdict(difference: Summary | None, summary: Summary) -> str:
    """A verdict in words, with the seeds that would decide it."""
    if difference is None:
        return '–'
    if difference['standard_error'] is None:
        return 'no verdict'
    if difference['verdict'] == 'equivalent':
        return f'equivalent (±{number_formats.score(summary["margin"], summary["metric"])})'
    if difference['verdict'] != 'undecided':
        return difference['verdict']
    more = difference['further_seeds']
    return f'no significant difference{"" if more is None else f" ({seeds(more)})"}'


def seeds(more: int) -> str:
    """A number of further seeds.

    >>> seeds(1), seeds(12)
    ('1 more seed', '12 more seeds')
    """
    return f'{more} more seed{"" if more == 1 else "s"}'


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it can be read as it is; numbers to the right.

    >>> print(markdown(['arm', 'n'], [['head', '12']]))
    | arm  |  n |
    | :--- | -: |
    | head | 12 |
    """
    table = [[in_markdown(cell) for cell in row] for row in (header, *rows)]
    widths = [max(2, *(len(row[i]) for row in table)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return '| ' + ' | '.join(cells) + ' |'

    rules = [
        ':' + '-' * (width - 1) if i == 0 else '-' * (width - 1) + ':'
        for i, width in enumerate(widths)
    ]
    return '\n'.join([line(table[0]), line(rules), *(line(row) for row in table[1:])])


def _columns(summary: Summary, header: list[str]) -> str:
    lines = column_meanings(summary, header).items()
    told = [f'- **{in_markdown(title)}**: {in_markdown(meaning)}' for title, meaning in lines]
    return 'The columns:\n\n' + '\n'.join(told)


def _table(columns: Cells, arms: Sequence[Summary], keep: int) -> tuple[list[str], list[list[str]]]:
    cells = [(title, [write(arm) for arm in arms]) for title, write in columns]
    shown = [
        (title, column)
        for i, (title, column) in enumerate(cells)
        if i < keep or any(cell != '–' for cell in column)
    ]
    return [title for title, _ in shown], [
        list(row) for row in zip(*(c for _, c in shown), strict=True)
    ]


def _runs(arm: Summary) -> str:
    text = f'{arm["n_ok"]} of {arm["n"]}'
    notes = [f'{arm[key]} {word}' for key, word in _NOTES if arm[key]]
    return f'{text} ({", ".join(notes)})' if notes else text


_NOTES = (('n_diverged', 'diverged'), ('n_failed', 'failed'), ('n_missing', 'missing'))


def _time(arm: Summary, key: str, summary: Summary) -> str:
    """A time, with a star where it is a share of a program of several runs."""
    joint = arm['arm'] in summary.get('vectorised', ()) and arm[key] is not None
    return number_formats.seconds(arm[key]) + ('*' if joint else '')


def _mean(arm: Summary) -> float | None:
    return arm['mean']['estimate'] if arm['mean'] else None


def _difference(arm: Summary, metric: str) -> str:
    if arm['difference'] is None:
        return '–'
    interval = arm['difference']['interval']
    value = number_formats.score(interval['estimate'], metric, signed=True)
    bounds = number_formats.bounds(interval, metric, signed=True)
    return value if bounds == '–' else f'{value} {bounds}'
