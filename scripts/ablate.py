"""Compares arms (freezing strategies, say), each with its own learning rate, over seeds.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

Writes runs.jsonl (a line a run), summary.json, table.md, figures/ and report.html, and
verdicts.json where the config names gates. Finished runs are not repeated; an interrupted
grid goes on.
"""

import pathlib
import shlex
import sys

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.ablation.figures import save_figures
    from ftjax.ablation.gates import evaluate_gates
    from ftjax.ablation.report import write_report
    from ftjax.ablation.runner import run_grid
    from ftjax.ablation.settings import read_ablation
    from ftjax.ablation.summary import summarise
    from ftjax.ablation.tables import table_markdown, write_summary
    from ftjax.cells import cell_runner
    from ftjax.config import plain, read_config
    from ftjax.errors import UserError
    from ftjax.training.atomic import write_json
    from ftjax.training.lock import run_lock
    from ftjax.training.provenance import provenance

    values = plain(CONFIG.value)
    if 'ablation' not in values:
        raise UserError('the config has no section `ablation`; see configs/quickstart.py')
    settings = read_ablation(values.pop('ablation'))
    for arm in settings.tuned:  # a mistake in the last arm should not wait for the first ones
        read_config({**values, **{k: v for k, v in settings.changes(arm).items() if '.' not in k}})
    folder = pathlib.Path(WORKDIR.value)
    with run_lock(folder, enabled=launch.first_process()):
        rows = run_grid(settings, cell_runner(values, settings), folder, {'config': values})
    summary = summarise(
        rows,
        reference=settings.reference or next(iter(settings.arms)),
        metric=settings.metric,
        arms=list(settings.arms),
        seeds=settings.seeds,
        question=settings.question,
    )
    summary['caveats'] = [*settings.notes, *summary['caveats']]
    if settings.gates:
        summary['gates'] = evaluate_gates(settings.gates, summary)
        write_json(folder / 'verdicts.json', summary['gates'])
    write_summary(folder, summary)
    save_figures(folder / 'figures', summary, formats=('png',))
    write_report(
        folder / 'report.html',
        summary,
        title=settings.question or 'Ablation',
        setup={
            'data': values['data']['source'],
            'training examples a class': values['data']['examples_per_class'] or 'all',
            'network': values['init'],
            'seeds': ', '.join(map(str, settings.seeds)),
            'command': shlex.join(['python', *sys.argv]),
        },
        provenance=provenance(),
        gates=summary.get('gates', ()),
    )
    print(table_markdown(summary))


if __name__ == '__main__':
    launch.run(main)
