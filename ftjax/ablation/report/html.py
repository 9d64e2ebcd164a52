"""report.html: one self-contained page with question, setup, verdicts, figures, provenance."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.gates.gates import HOW_GATES_PASS
from ftjax.ablation.report import tables
from ftjax.ablation.report.figures import Drawn, draw
from ftjax.ablation.report.html_style import STYLE
from ftjax.ablation.report.race_table import LEGEND, race_table
from ftjax.ablation.report.sentences import overall_sentences, verdict_sentences
from ftjax.ablation.report.uncertainty_table import uncertainty_table
from ftjax.io.files.atomic import to_jsonable, write_text
from ftjax.plotting import number_formats
from ftjax.plotting.save import figure_bytes
from ftjax.printable import in_html


def write_report(
    path: str | os.PathLike[str],
    summary: Mapping[str, Any],
    *,
    title: str,
    setup: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    gates: Sequence[Mapping[str, Any]] = (),
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
    summary: Mapping[str, Any],
    title: str,
    setup: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    gates: Sequence[Mapping[str, Any]] = (),
    drawn: Sequence[Drawn] | None = None,
) -> str:
    """The page as a string; see `write_report`."""
    drawn = list(draw(summary)) if drawn is None else drawn
    parts = [f'<h1>{in_html(title)}</h1>']
    if summary['question'] not in ('', title):
        parts.append(f'<p class="question">{in_html(summary["question"])}</p>')
    parts.append(_section('Verdicts', _verdicts(summary, gates)))
    parts.append(_section('Results', _results(summary, drawn)))
    if summary.get('races'):
        parts.append(_section('Race', _races(summary)))
    parts.append(_section('Caveats', _list([*notes, *summary['caveats']])))
    parts.append(_section('Setup', _facts(_setup(summary, setup or {}))))
    if provenance:
        parts.append(_section('Provenance', _facts(dict(_flat(to_jsonable(provenance))))))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{in_html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n'
        + '\n'.join(parts)
        + '\n</main>\n</body>\n</html>\n'
    )


def _verdicts(summary: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    if gates:
        parts.append(_gates(gates))
    overall = overall_sentences(summary)
    if overall:
        parts += ['<h3>All tasks together</h3>', _list(overall)]
    for task in summary['tasks']:
        sentences = verdict_sentences(task, summary)
        if len(summary['tasks']) > 1:
            parts.append(f'<h3>{in_html(task["task"])}</h3>')
        parts.append(_list(sentences))
    return '\n'.join(parts)


def _gates(gates: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for gate in gates:
        words = {True: 'passed', False: 'failed', None: 'reported'}
        passed = words[gate.get('passed')]
        if passed == 'reported' and gate.get('kind', 'gate') == 'gate':
            passed = 'undecided'
        interval = gate.get('interval')
        bounds = '–' if not interval else f'[{interval[0]:.4g}, {interval[1]:.4g}]'
        value = gate.get('value')
        shown = f'{value:.4g}' if isinstance(value, (int, float)) else str(value or '–')
        rows.append(
            f'<tr class="{passed}"><td>{in_html(gate["gate"])}</td>'
            f'<td>{in_html(gate.get("kind", "gate"))}</td><td>{in_html(shown)}</td>'
            f'<td>{bounds}</td><td class="outcome">{passed}</td></tr>'
        )
    head = '<tr><th>gate</th><th>kind</th><th>value</th><th>interval</th><th>outcome</th></tr>'
    table = f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    return f'{table}\n<p class="legend">{in_html(HOW_GATES_PASS)}</p>'


def _results(summary: Mapping[str, Any], drawn: Sequence[Drawn]) -> str:
    several = len(summary['tasks']) > 1
    parts = []
    if summary['overall'] and summary['overall']['arms']:
        parts.append('<h3>All tasks together</h3>')
        parts.append(_table(*tables.overall_table(summary)))
    across = [_figure(one) for one in drawn if one.task is None]
    parts += across if several else []
    for task in summary['tasks']:
        if several:
            parts.append(f'<h3 class="task">{in_html(task["task"])}</h3>')
        parts.append(_table(*tables.task_table(task, summary)))
        shifts = tables.shift_table(task, summary)
        if shifts is not None:
            parts.append('<p>Other test sets, mean and interval:</p>')
            parts.append(_table(*shifts))
        sources = uncertainty_table(task, summary)
        if sources is not None:
            parts.append(f'<p>{in_html(sources[0])}</p>')
            parts.append(_table(*sources[1:]))
        parts += [_figure(one) for one in drawn if one.task == task['task']]
    parts += [] if several else across
    parts.append(f'<p class="legend">{in_html(tables.legend(summary))}</p>')
    return '\n'.join(parts)


def _races(summary: Mapping[str, Any]) -> str:
    parts = []
    for task, told in summary['races'].items():
        parts += [f'<h3>{in_html(task)}</h3>'] if task else []
        parts.append(_table(*race_table(told, summary)))
    return '\n'.join([*parts, f'<p class="legend">{in_html(LEGEND)}</p>'])


def _setup(summary: Mapping[str, Any], setup: Mapping[str, Any]) -> dict[str, str]:
    arms = [arm['arm'] for arm in summary['tasks'][0]['arms']]
    facts = {
        'arms': ', '.join(arms),
        'reference arm': summary['reference'],
        'seeds': ', '.join(str(seed) for seed in summary['seeds']),
        'reported metric': number_formats.headed(summary),
        'rates chosen by': number_formats.headed(summary, 'validation'),
        'runs': str(summary['n_runs']),
        'time of all runs': number_formats.seconds(summary['total_wall_seconds']),
    }
    return {**dict(_flat(to_jsonable(setup))), **facts}


def _figure(drawn: Drawn) -> str:
    # Line ends and indents are a tenth of a drawing; a report with many is sent around whole.
    drawing = re.sub(rb'\s*\n\s*', b' ', figure_bytes(drawn.figure, 'svg'))
    data = base64.b64encode(drawing).decode('ascii')
    # The width it was drawn for, so that letters have the size of the text around.
    inches = drawn.figure.get_figwidth()
    return (
        f'<figure><img style="width: {min(100, 100 * inches / 9.6):.0f}%" '
        f'alt="{in_html(drawn.caption)}" src="data:image/svg+xml;base64,{data}">'
        f'<figcaption>{in_html(drawn.caption)}</figcaption></figure>'
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = ''.join(f'<th scope="col">{in_html(cell)}</th>' for cell in header)
    body = ''.join(
        f'<tr><th scope="row">{in_html(row[0])}</th>'
        + ''.join(f'<td>{_nobreak(cell)}</td>' for cell in row[1:])
        + '</tr>'
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _nobreak(cell: str) -> str:
    # A value may part from its interval or note, but none may break inside.
    return ' '.join(
        f'<span class="nb">{in_html(piece)}</span>' for piece in re.split(r' (?=[\[(])', cell)
    )


def _facts(facts: Mapping[str, Any]) -> str:
    rows = ''.join(
        f'<tr><th scope="row">{in_html(name)}</th><td>{in_html(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f'<table class="facts">{rows}</table>'


def _flat(value: Any, name: str = '') -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f'{name} {key}'.strip())
    elif isinstance(value, list) and all(not isinstance(item, (list, dict)) for item in value):
        yield name, ', '.join('–' if item is None else str(item) for item in value)
    else:
        words = {None: '–', True: 'yes', False: 'no'}
        known = value is None or isinstance(value, bool)
        yield name.replace('_', ' '), words[value] if known else str(value)


def _section(title: str, content: str) -> str:
    return f'<section>\n<h2>{in_html(title)}</h2>\n{content}\n</section>'


def _list(items: Sequence[str]) -> str:
    return '<ul>' + ''.join(f'<li>{in_html(item)}</li>' for item in items) + '</ul>'
