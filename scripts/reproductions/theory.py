"""Reproduces results of theory on networks of two layers, by plan and step of the engine.

    python scripts/reproductions/theory.py --config=configs/reproductions/t0a.py --workdir=runs/t0a

Writes table.md, summary.json, verdicts.json, figures and report.html.
"""

import pathlib

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.ablation.report.results_folder import write_results
    from ftjax.ablation.summary.summary import summarise
    from ftjax.errors import check_name
    from ftjax.reproductions import linear_theory, relu_theory

    config = CONFIG.value
    theories = {'linear': linear_theory, 'relu': relu_theory}
    rows, verdicts = theories[check_name(config.theory, theories, 'theory')].rows(config.seeds)
    summary = summarise(
        rows,
        reference=config.reference,
        metric='error',
        question=config.question,
    )
    folder = pathlib.Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    table = write_results(
        folder,
        summary,
        title=config.question,
        setup={'seeds': config.seeds},
        notes=config.notes,
        gates=verdicts,
    )
    print(table)


if __name__ == '__main__':
    launch.run(main)
