"""report.html: one self-contained page: answer, figures and tables, verdicts, setup, origin."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ftjax.ablation.gates.gate_table import HOW_GATES_PASS, gate_rows
from ftjax.ablation.report import arm_columns, retention_table, tables
from ftjax.ablation.report.executive_answer import answer
from ftjax.ablation.report.figures import Drawn, draw
from ftjax.ablation.report.race_table import LEGEND, race_table
from ftjax.ablation.report.sentences import overall_sentences, verdict_sentences
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.files.atomic import to_jsonable, write_text
from ftjax.io.json.json_values import JsonObject
from ftjax.pages.elements import bullets, facts, figure, flat, paragraph, section, table
from ftjax.pages.page import page
from ftjax.plotting import number_formats
from ftjax.plotting.save import figure_bytes
from ftjax.printable import in_html

FIRST = 'differences_by_arm'
"""The figure that stands before the tables."""
RETENTION = 'learning_and_forgetting'
"""The figure of a section of its own."""


def write_report(
    path: str | os.PathLike[str],
    summary: Summary,
    *,
    title: str,
    setup: JsonObject | None = None,
    provenance: JsonObject | None = None,
    notes: Sequence[str] = (),
    gates: Sequence[Summary] = (),
    drawn: Sequence[Drawn] | None = None,
) -> None:
    """Writes the report of an ablation, whole or not at all.

    The page needs no other file and no network: figures are inside it as SVG.

    Args:
      path: where to; usually report.html.
      summary: from `summarise`, or read back from summary.json.
      title: heading of the page.
      setup: what was held fixed, name to value, in the order to show (data, network, steps).
      provenance: from `ftjax.io.process.provenance.provenance`; shown flattened.
      notes: caveats to add to the summary's own, such as reductions of a reproduction.
      gates: verdicts of a reproduction: objects {gate, passed, value, interval, kind}.
      drawn: the figures, where they are drawn already.
    """
    write_text(path, report_html(summary, title, setup, provenance, notes, gates, drawn))


def report_html(
    summary: Summary,
    title: str,
    setup: JsonObject | None = None,
    provenance: JsonObject | None = None,
    notes: Sequence[str] = (),
    gates: Sequence[Summary] = (),
    drawn: Sequence[Drawn] | None = None,
) -> str:
    """The page as a string; see `write_report`."""
    drawn = list(draw(summary)) if drawn is None else drawn
    parts = [f'<h1>{in_html(title)}</h1>']
    if summary['question'] not in ('', title):
        parts.append(f'<p class="question">{in_html(summary["question"])}</p>')
    parts.append(section('Answer', bullets(answer(summary), 'answer')))
    parts.append(section('Results', _results(summary, drawn)))
    if summary.get('retention'):
        parts.append(section(retention_table.HEADING, _retention(summary, drawn)))
    parts.append(section('Verdicts', _verdicts(summary, gates)))
    if summary.get('races'):
        parts.append(section('Race', _races(summary)))
    parts.append(section('Caveats', bullets([*notes, *summary['caveats']])))
    parts.append(section('Setup', facts(_setup(summary, setup or {}))))
    if provenance:
        parts.append(section('Provenance', facts(dict(flat(to_jsonable(provenance))))))
    return page(title, parts)


def _verdicts(summary: Summary, gates: Sequence[Summary]) -> str:
    parts = []
    if gates:
        parts.append(_gates(gates))
    overall = overall_sentences(summary)
    if overall:
        parts += ['<h3>All tasks together</h3>', bullets(overall)]
    for task in summary['tasks']:
        sentences = verdict_sentences(task, summary)
        if len(summary['tasks']) > 1:
            parts.append(f'<h3>{in_html(task["task"])}</h3>')
        parts.append(bullets(sentences))
    return '\n'.join(parts)


def _gates(gates: Sequence[Summary]) -> str:
    rows = []
    for *cells, outcome in gate_rows(gates):
        shown = ''.join(f'<td>{in_html(cell)}</td>' for cell in cells)
        rows.append(f'<tr class="{outcome}">{shown}<td class="outcome">{outcome}</td></tr>')
    head = '<tr><th>gate</th><th>kind</th><th>value</th><th>interval</th><th>outcome</th></tr>'
    gates_table = f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    return f'{gates_table}\n<p class="legend">{in_html(HOW_GATES_PASS)}</p>'


def _results(summary: Summary, drawn: Sequence[Drawn]) -> str:
    several = len(summary['tasks']) > 1
    drawn = [one for one in drawn if not one.name.startswith(RETENTION)]
    first = [] if several else [one for one in drawn if one.name == FIRST]
    parts = [drawn_figure(one) for one in first]
    how_to_read = [*_columns_told(summary)]
    if summary['overall'] and summary['overall']['arms']:
        parts.append('<h3>All tasks together</h3>')
        parts.append(table(*arm_columns.overall_table(summary)))
        parts += how_to_read
        how_to_read = []
    across = [drawn_figure(one) for one in drawn if one.task is None]
    parts += across if several else []
    for task in summary['tasks']:
        if several:
            parts.append(f'<h3 class="task">{in_html(task["task"])}</h3>')
        parts.append(table(*arm_columns.task_table(task, summary)))
        parts += how_to_read
        how_to_read = []
        shifts = tables.shift_table(task, summary)
        if shifts is not None:
            parts.append(f'<p>{tables.shifts_told(task)}, mean and interval:</p>')
            parts.append(table(*shifts))
        for told in tables.told_tables(task, summary):
            if told is not None:
                parts.append(f'<p>{in_html(told[0])}</p>')
                parts.append(table(*told[1:]))
        parts += [
            drawn_figure(one) for one in drawn if one.task == task['task'] and one not in first
        ]
    parts += [] if several else across
    return '\n'.join(parts)


def _retention(summary: Summary, drawn: Sequence[Drawn]) -> str:
    parts = []
    for task in summary['tasks']:
        if len(summary['tasks']) > 1:
            parts.append(f'<h3 class="task">{in_html(task["task"])}</h3>')
        parts.append(paragraph(retention_table.retention_sentence(task, summary)))
        parts += [
            drawn_figure(one)
            for one in drawn
            if one.name.startswith(RETENTION) and one.task == task['task']
        ]
        parts.append(table(*retention_table.retention_table(task, summary)))
    parts.append(facts(retention_table.retention_meanings(summary)))
    return '\n'.join(parts)


def _columns_told(summary: Summary) -> Iterator[str]:
    yield '<h3>What the columns say</h3>'
    yield facts(arm_columns.meanings(summary))
    if said := arm_columns.promise(summary):
        yield paragraph(said, 'legend')


def _races(summary: Summary) -> str:
    parts = []
    for task, told in summary['races'].items():
        parts += [f'<h3>{in_html(task)}</h3>'] if task else []
        parts.append(table(*race_table(told, summary)))
    return '\n'.join([*parts, f'<p class="legend">{in_html(LEGEND)}</p>'])


def _setup(summary: Summary, setup: JsonObject) -> dict[str, str]:
    arms = [arm['arm'] for arm in summary['tasks'][0]['arms']]
    held = {
        'arms': ', '.join(arms),
        'reference arm': summary['reference'],
        'seeds': ', '.join(str(seed) for seed in summary['seeds']),
        'reported metric': number_formats.headed(summary),
        'rates chosen by': number_formats.headed(summary, 'validation'),
        'runs in this report': str(summary['n_runs']),
        'training time of these runs': number_formats.seconds(summary['total_wall_seconds']),
    }
    return {**dict(flat(to_jsonable(setup), spoken=False)), **held}


def drawn_figure(drawn: Drawn) -> str:
    """A figure inside a page, as SVG."""
    return figure(figure_bytes(drawn.figure, 'svg'), drawn.figure.get_figwidth(), drawn.caption)
