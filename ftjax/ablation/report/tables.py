"""table.md: the summary as a table to read, paste and commit."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from ftjax.ablation.gates.gate_table import HOW_GATES_PASS, gate_rows
from ftjax.ablation.report import arm_cells
from ftjax.ablation.report.arm_columns import Table, meanings, overall_table, promise, task_table
from ftjax.ablation.report.executive_answer import answer
from ftjax.ablation.report.forgetting_table import forgetting_table
from ftjax.ablation.report.retention_table import (
    HEADING,
    retention_meanings,
    retention_sentence,
    retention_table,
)
from ftjax.ablation.report.uncertainty_table import uncertainty_table
from ftjax.ablation.report.unfamiliar_table import unfamiliar_table
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.files.atomic import write_json, write_text
from ftjax.printable import in_markdown


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
    """The answer, the tables of all tasks and the overall one, what columns say, and caveats."""
    parts = []
    if summary['question']:
        parts.append(f'**{in_markdown(summary["question"])}**')
    parts.append(in_markdown(' '.join(answer(summary))))
    for number, task in enumerate(summary['tasks']):
        if len(summary['tasks']) > 1:
            parts.append(f'### {in_markdown(task["task"])}')
        parts.append(markdown(*task_table(task, summary)))
        parts += _columns_told(summary) if number == 0 else []
        shifts = shift_table(task, summary)
        if shifts is not None:
            parts.append(f'{shifts_told(task)}:')
            parts.append(markdown(*shifts))
        for told in told_tables(task, summary):
            if told is not None:
                parts.append(in_markdown(told[0]))
                parts.append(markdown(*told[1:]))
    if summary['overall'] and summary['overall']['arms']:
        parts.append('### All tasks together')
        parts.append(markdown(*overall_table(summary)))
    parts += _retention(summary)
    if summary.get('gates'):
        header = ['gate', 'kind', 'value', 'interval', 'outcome']
        parts.append(markdown(header, gate_rows(summary['gates'])))
        parts.append(HOW_GATES_PASS)
    parts.append('\n'.join(f'- {in_markdown(caveat)}' for caveat in summary['caveats']))
    return '\n\n'.join(parts) + '\n'


def _retention(summary: Summary) -> Iterator[str]:
    if not summary.get('retention'):
        return
    yield f'### {HEADING}'
    for task in summary['tasks']:
        if len(summary['tasks']) > 1:
            yield f'#### {in_markdown(task["task"])}'
        yield in_markdown(retention_sentence(task, summary))
        yield markdown(*retention_table(task, summary))
    yield 'What the columns say:'
    yield _listed(retention_meanings(summary))


def _listed(told: Mapping[str, str]) -> str:
    return '\n'.join(f'- **{in_markdown(t)}**: {in_markdown(what)}' for t, what in told.items())


def _columns_told(summary: Summary) -> Iterator[str]:
    yield 'What the columns say:'
    yield _listed(meanings(summary))
    if said := promise(summary):
        yield in_markdown(said)


def shifts_told(task: Summary) -> str:
    """What `shift_table` has: further test sets, or the tasks of a sequence."""
    in_turn = any(arm.get('forgetting') for arm in task['arms'])
    return 'Each task, after the last one' if in_turn else 'Other test sets'


def shift_table(task: Summary, summary: Summary) -> Table | None:
    """Mean on every further test set by arm, with the interval; None where there is none."""
    names = list(dict.fromkeys(name for arm in task['arms'] for name in arm['shifts']))
    if not names:
        return None
    metric = summary['metric']

    def cell(arm: Summary, name: str) -> str:
        found = arm['shifts'].get(name)
        return arm_cells.with_bounds(found and found['mean'], metric)

    def headed(name: str) -> str:
        counts = [arm['shifts'].get(name, {}).get('n') for arm in task['arms']]
        known = [count for count in counts if count]  # rows of early versions do not tell
        return f'{name} (n = {max(known):,})' if known else name

    header = ['arm', *map(headed, names)]
    return header, [[arm['arm'], *(cell(arm, name) for name in names)] for arm in task['arms']]


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
