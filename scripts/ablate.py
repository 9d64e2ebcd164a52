"""Compares arms (freezing strategies, say), each with its own learning rate, over seeds.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

Writes runs.jsonl (a line a run), summary.json, table.md, figures/ and report.html, and
verdicts.json where the config names gates. Finished runs are not repeated; an interrupted
grid goes on. What it will take is said first. In processes of this machine, or on a Ray cluster:

    python scripts/ablate.py --config=.. --workdir=.. --engine=processes --workers=4
    python scripts/ablate.py --config=.. --workdir=.. --engine=ray --ray_address=auto

Scores do not depend on the engine. What a config's section `ablation` may hold (tasks, what is
tuned beside the rate, equal compute, folds, further test sets, gates, a budget within which arms
race) is explained in ftjax/ablation/settings.py. A run whose worker dies is tried once more and
then counted as failed; with --retry_failed a later call tries such runs again, and the table says
so.

With --summarise nothing is run: tables, figures and report are made again from the rows that
the folder holds, under the present statistics.

Rows tell what they were made from. A folder whose rows had other data, weights or code than there
are now is refused; --allow_data_change, --allow_weights_change and --allow_code_change go on, and
the report says so.
"""

import functools
import os
import pathlib
from typing import Any

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
ENGINE = flags.DEFINE_enum(
    'engine', 'in_process', ['in_process', 'processes', 'ray'], 'Where the runs run.'
)
WORKERS = flags.DEFINE_integer(
    'workers', None, 'Runs at a time: half the processors, or the cluster, unless given.'
)
ALLOWED = launch.define_allowed_changes()
RAY_ADDRESS = flags.DEFINE_string(
    'ray_address', '', 'Of a running Ray cluster; empty to start one on this machine.'
)
VECTORISE = flags.DEFINE_enum(
    'vectorise',
    'auto',
    ['auto', 'off'],
    'Whether runs that differ in their rate alone share a program where they can.',
)

RETRY = flags.DEFINE_bool(
    'retry_failed', False, 'Try runs again that had failed: whose worker died twice.'
)
flags.DEFINE_alias('retry-failed', 'retry_failed')
SUMMARISE = flags.DEFINE_bool(
    'summarise', False, 'Make tables, figures and report again from the rows, and run nothing.'
)


def main():
    from ftjax.ablation.cells.task_grids import check_grids, stored_rows
    from ftjax.ablation.racing.account import seeds_run
    from ftjax.ablation.report.gate_verdicts import grid_verdicts
    from ftjax.ablation.report.results_folder import write_results
    from ftjax.ablation.settings import read_ablation
    from ftjax.ablation.summary.summary import summarise
    from ftjax.config import plain
    from ftjax.errors import UserError

    values = plain(CONFIG.value)
    if 'ablation' not in values:
        raise UserError('the config has no section `ablation`; see configs/quickstart.py')
    settings = read_ablation(values.pop('ablation'))
    check_grids(values, settings)
    folder = pathlib.Path(WORKDIR.value)
    rows, notes, races = (
        stored_rows(values, settings, folder) if SUMMARISE.value else run(values, settings, folder)
    )
    summary = summarise(
        rows,
        reference=settings.reference or next(iter(settings.arms)),
        metric=settings.metric,
        arms=list(settings.arms),
        seeds=seeds_run(races, settings.draws),
        margin=settings.margin,
        outside_prior=settings.outside_prior,
        folds=settings.folds,
        question=settings.question,
        races=races,
    )
    table = write_results(
        folder,
        summary,
        title=settings.question or 'Ablation',
        setup={
            'data': values['data']['source'],
            'training examples a class': values['data']['examples_per_class'] or 'all',
            'network': values['init'],
            'seeds': ', '.join(map(str, settings.seeds)),
            **({'tasks': settings.tasks} if settings.tasks else {}),
            **({'folds': settings.folds} if settings.folds else {}),
            **({'tuned beside the rate': settings.tune} if settings.tune else {}),
            **({'budget': settings.budget} if settings.budget else {}),
            **({'equal': settings.equal} if settings.equal != 'steps' else {}),
        },
        notes=(*settings.notes, *notes),
        gates=grid_verdicts(settings, summary, rows),
    )
    print(table)


def run(values, settings, folder):
    """Runs what is missing; gives all rows, notes for readers, and races."""
    from ftjax.ablation.cells.task_grids import run_grids
    from ftjax.ablation.engines.factory import make_engine
    from ftjax.ablation.engines.worker_start import start_worker
    from ftjax.io.files.lock import run_lock

    if ENGINE.value != 'in_process':
        # What is measured here must leave an accelerator's memory to the workers.
        os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    config_file: Any = flags.FLAGS['config']
    start = functools.partial(start_worker, config_file.config_filename, os.getcwd())
    engine = make_engine(ENGINE.value, WORKERS.value, start, RAY_ADDRESS.value)
    with run_lock(folder, enabled=launch.first_process()):
        rows, notes, races = run_grids(
            values, settings, folder, engine, VECTORISE.value == 'auto', RETRY.value, ALLOWED()
        )
    if engine.workers > 1:
        notes.append(
            f'Runs ran {engine.workers} at a time: where they shared processors, times of steps '
            'and runs are longer than those of a run alone.'
        )
    return rows, notes, races


if __name__ == '__main__':
    launch.run(main)
