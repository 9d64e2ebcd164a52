"""What a comparison leaves in its folder: numbers, table, verdicts, figures and a report."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from ftjax.ablation.report.figures import draw, figure_names, save_figures
from ftjax.ablation.report.html import write_report
from ftjax.ablation.report.tables import table_markdown, write_summary
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.summary.summary import read_summary
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_values import JsonObject
from ftjax.io.process.provenance import command_line, provenance


def write_results(
    folder: pathlib.Path,
    summary: Summary,
    *,
    title: str,
    setup: JsonObject,
    notes: Sequence[str] = (),
    gates: Sequence[Summary] = (),
) -> str:
    """Writes summary.json, table.md, figures/, report.html and, of gates, verdicts.json.

    Returns the table as text. Figures and verdicts of an earlier call that this one does not write
    are removed.

    Args:
      folder: of the comparison; it is there.
      summary: from `summarise`.
      title: heading of the report.
      setup: what was held fixed, name to value, in the order to show; the command is added.
      notes: caveats of the config, which come before the summary's own.
      gates: verdicts: objects {gate, passed, value, interval, kind}.
    """
    summary = {**summary, 'caveats': [*notes, *summary['caveats']]}
    if gates:
        summary['gates'] = list(gates)
        write_json(folder / 'verdicts.json', summary['gates'])
    else:
        (folder / 'verdicts.json').unlink(missing_ok=True)
    earlier = figures_before(folder)
    write_summary(folder, summary)
    drawn = list(draw(summary))
    written = save_figures(folder / 'figures', summary, ('png',), drawn)
    for path in earlier - {*written}:
        path.unlink(missing_ok=True)
    write_report(
        folder / 'report.html',
        summary,
        title=title,
        setup={**setup, 'command': command_line()},
        provenance=provenance(),
        gates=gates,
        drawn=drawn,
    )
    return table_markdown(summary)


def figures_before(folder: pathlib.Path) -> set[pathlib.Path]:
    """The files that figures of the summary in a folder may have; none where it cannot be read."""
    try:
        tasks = read_summary(folder / 'summary.json')['tasks']
    except UserError:
        return set()
    names = figure_names([task['task'] for task in tasks])
    return {folder / 'figures' / f'{name}.png' for name in names}
