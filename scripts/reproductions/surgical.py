"""Surgical fine-tuning: the same arms on several shifts, each with its own learning rate.

    python scripts/reproductions/surgical.py --config=configs/reproductions/t1.py --workdir=runs/t1

Each task is a grid in a folder of its own; finished runs are not repeated, an interrupted call
goes on. Writes runs.jsonl (all tasks), table.md, summary.json, verdicts.json, figures and
report.html.
"""

import json
import pathlib

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.ablation.gates.task_gates import group_verdicts
    from ftjax.ablation.grid.claim import check_place
    from ftjax.ablation.grid.run_grid import run_grid
    from ftjax.ablation.report.results_folder import write_results
    from ftjax.ablation.summary.summary import summarise
    from ftjax.config import plain, read_config
    from ftjax.errors import UserError
    from ftjax.io.atomic import to_jsonable, write_text
    from ftjax.io.lock import run_lock
    from ftjax.printable import printable
    from ftjax.reproductions import surgical

    values = plain(CONFIG.value)
    if 'surgical' not in values:
        raise UserError('the config has no section `surgical`; see configs/reproductions/t1.py')
    settings = surgical.read_surgical(values.pop('surgical'))
    ablation = settings.ablation
    for arm in ablation.tuned:  # a mistake in the last arm should not wait for the first ones
        read_config({**values, **ablation.changes(arm)})
    folder, rows = pathlib.Path(WORKDIR.value), []
    check_place(folder)
    with run_lock(folder, enabled=launch.first_process()):
        for name, task in settings.tasks.items():
            print(f'{printable(name)}:', flush=True)
            fixed = {'config': values, 'task': task, 'test_per_class': settings.test_per_class}
            execute = surgical.task_runner(values, settings, task)
            made = run_grid(ablation, execute, folder / name.replace(' ', '_'), fixed)
            rows += [{'task': name, **to_jsonable(row)} for row in made]
    write_text(folder / 'runs.jsonl', ''.join(json.dumps(row) + '\n' for row in rows))
    summary = summarise(
        rows,
        reference=ablation.reference or next(iter(ablation.arms)),
        metric=ablation.metric,
        arms=list(ablation.arms),
        seeds=ablation.seeds,
        question=ablation.question,
    )
    gates = group_verdicts(summary, rows, settings.groups, settings.gates)
    table = write_results(
        folder,
        summary,
        title=ablation.question or 'Surgical fine-tuning',
        setup={
            'data': values['data']['source'],
            'tasks': {name: vars(task) for name, task in settings.tasks.items()},
            'training examples a class': values['data']['examples_per_class'],
            'test examples a class': settings.test_per_class,
            'network': values['init'],
            'seeds': ', '.join(map(str, ablation.seeds)),
        },
        notes=ablation.notes,
        gates=gates,
    )
    print(table)


if __name__ == '__main__':
    launch.run(main)
