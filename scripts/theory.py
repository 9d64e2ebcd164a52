"""Reproduces results of theory on networks of two layers, by plan and step of the engine.

    python scripts/theory.py --config=configs/reproductions/t0a.py --workdir=runs/t0a

Writes table.md, summary.json, verdicts.json, figures and report.html.
"""

import pathlib
import shlex
import sys

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.ablation import linear_theory, relu_theory
    from ftjax.ablation.figures import save_figures
    from ftjax.ablation.report import write_report
    from ftjax.ablation.summary import summarise
    from ftjax.ablation.tables import table_markdown, write_summary
    from ftjax.errors import check_name
    from ftjax.training.atomic import write_json
    from ftjax.training.provenance import provenance

    config = CONFIG.value
    theories = {'linear': linear_theory, 'relu': relu_theory}
    rows, verdicts = theories[check_name(config.theory, theories, 'theory')].rows(config.seeds)
    summary = summarise(
        rows,
        reference=config.reference,
        metric='error',
        higher_is_better=False,
        question=config.question,
    )
    summary['caveats'] = [*config.notes, *summary['caveats']]
    folder = pathlib.Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / 'verdicts.json', verdicts)
    write_summary(folder, {**summary, 'gates': verdicts})
    save_figures(folder / 'figures', summary, formats=('png',))
    write_report(
        folder / 'report.html',
        summary,
        title=config.question,
        setup={'seeds': config.seeds, 'command': shlex.join(['python', *sys.argv])},
        provenance=provenance(),
        gates=verdicts,
    )
    print(table_markdown({**summary, 'gates': verdicts}))


if __name__ == '__main__':
    launch.run(main)
