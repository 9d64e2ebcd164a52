"""Compares arms (freezing strategies, say), each with its own learning rate, over seeds.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

Writes runs.jsonl (a line a run), summary.json, table.md, figures/ and report.html, and
verdicts.json where the config names gates. Finished runs are not repeated; an interrupted
grid goes on. What it will take is said first. In processes of this machine, or on a Ray cluster:

    python scripts/ablate.py --config=.. --workdir=.. --engine=processes --workers=4
    python scripts/ablate.py --config=.. --workdir=.. --engine=ray --ray_address=auto

The table does not depend on the engine. A run whose worker dies is tried once more and then
counted as failed.
"""

import functools
import os
import pathlib
from typing import Any

from absl import flags

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
ENGINE = flags.DEFINE_enum(
    'engine', 'in_process', ['in_process', 'processes', 'ray'], 'Where the runs run.'
)
WORKERS = flags.DEFINE_integer(
    'workers', None, 'Runs at a time: half the processors, or the cluster, unless given.'
)
RAY_ADDRESS = flags.DEFINE_string(
    'ray_address', '', 'Of a running Ray cluster; empty to start one on this machine.'
)
VECTORISE = flags.DEFINE_enum(
    'vectorise',
    'auto',
    ['auto', 'off'],
    'Whether runs that differ in their rate alone share a program where they can.',
)


def main():
    from ftjax.ablation.engines import make_engine
    from ftjax.ablation.forecast import forecast
    from ftjax.ablation.gates import evaluate_gates
    from ftjax.ablation.results_folder import write_results
    from ftjax.ablation.runner import jobs_of, run_grid
    from ftjax.ablation.settings import read_ablation
    from ftjax.ablation.shift_gates import movement_verdicts, shift_verdicts
    from ftjax.ablation.summary import summarise
    from ftjax.cells import CellRunner
    from ftjax.cells.further_tests import further_settings
    from ftjax.cells.worker_start import start_worker
    from ftjax.config import plain, read_config
    from ftjax.errors import UserError
    from ftjax.training.lock import run_lock

    values = plain(CONFIG.value)
    if 'ablation' not in values:
        raise UserError('the config has no section `ablation`; see configs/quickstart.py')
    settings = read_ablation(values.pop('ablation'))
    for arm in settings.tuned:  # a mistake in the last arm should not wait for the first ones
        read_config({**values, **{k: v for k, v in settings.changes(arm).items() if '.' not in k}})
    for name, given in settings.also_evaluate.items():
        further_settings(read_config(values).data, name, given)
    folder = pathlib.Path(WORKDIR.value)
    if ENGINE.value != 'in_process':
        # What is measured here must leave an accelerator's memory to the workers.
        os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    config_file: Any = flags.FLAGS['config']
    start = functools.partial(start_worker, config_file.config_filename, os.getcwd())
    engine = make_engine(ENGINE.value, WORKERS.value, start, RAY_ADDRESS.value)
    runner = CellRunner(values, settings)
    shared = runner.shared if VECTORISE.value == 'auto' else lambda arm: False

    def foresee(cells, rows):
        surveys = {arm: runner.survey(arm) for arm, rate, _ in cells if rate is not None}
        stored = max((found.stored for found in surveys.values()), default=0)

        def seconds(arm):
            return surveys[arm].seconds if arm in surveys else 1.0

        return forecast(jobs_of(cells, shared), rows, seconds, engine.workers, stored)

    with run_lock(folder, enabled=launch.first_process()):
        rows = run_grid(
            settings,
            runner,
            folder,
            {'config': values},
            engine=engine,
            together=runner.together,
            shared=shared,
            foresee=foresee,
        )
    summary = summarise(
        rows,
        reference=settings.reference or next(iter(settings.arms)),
        metric=settings.metric,
        arms=list(settings.arms),
        seeds=settings.draws,
        folds=settings.folds,
        question=settings.question,
    )
    gates = [
        *evaluate_gates(settings.gates, summary),
        *shift_verdicts(summary, settings.groups, settings.group_gates),
        *movement_verdicts(summary, rows, settings.groups),
    ]
    table = write_results(
        folder,
        summary,
        title=settings.question or 'Ablation',
        setup={
            'data': values['data']['source'],
            'training examples a class': values['data']['examples_per_class'] or 'all',
            'network': values['init'],
            'seeds': ', '.join(map(str, settings.seeds)),
            **({'folds': settings.folds} if settings.folds else {}),
        },
        notes=settings.notes,
        gates=gates,
    )
    print(table)


if __name__ == '__main__':
    launch.run(main)
