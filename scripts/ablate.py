"""Compares arms (freezing strategies, say), each with its own learning rate, over seeds.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

Writes runs.jsonl (a line a run), summary.json, table.md, figures/ and report.html, and
verdicts.json where the config names gates. Finished runs are not repeated; an interrupted
grid goes on. What it will take is said first. In processes of this machine, or on a Ray cluster:

    python scripts/ablate.py --config=.. --workdir=.. --engine=processes --workers=4
    python scripts/ablate.py --config=.. --workdir=.. --engine=ray --ray_address=auto

Scores do not depend on the engine. On a cluster with GPUs each run gets the devices that the
forecast of its memory asks for. What a config's section `ablation` may hold (tasks, what is tuned
beside the rate, equal compute, folds, further test sets, gates, a budget within which arms race)
is explained in ftjax/ablation/settings.py. A run whose worker dies is tried once more and then
counted as failed; with --retry_failed a later call tries such runs again, and the table says so.

With --only_task=NAME one of config.ablation.tasks is run, in its own folder below --workdir, and
no report is written: jobs of a Slurm array, say, take a task each, and a last call without the flag
makes the report (ftjax/ablation/GUIDE.md).

With --publish=URL (s3://bucket/path, gs://.., file://.., whatever fsspec knows) the folder is
copied there: rows every two minutes and where the ablation is stopped, all else at the end. Begun
in an empty folder, on another machine for instance, it fetches the rows from there and goes on.

With --summarise nothing is run: tables, figures and report are made again from the rows that
the folder holds, under the present statistics. --workdir may then be a URL: the table is printed,
and nothing is written there.

Rows tell what they were made from. A folder whose rows had other data, weights or code than there
are now is refused; --allow_data_change, --allow_weights_change and --allow_code_change go on, and
the report says so.
"""

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir(only_read=lambda: SUMMARISE.value and not ONLY.value)
AUDIT = launch.define_audit()
ENGINE = launch.define_engine()
ALLOWED = launch.define_allowed_changes()
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
ONLY = flags.DEFINE_string(
    'only_task', '', 'Run this one of config.ablation.tasks, beside processes that run others.'
)
flags.DEFINE_alias('only-task', 'only_task')
SUMMARISE = flags.DEFINE_bool(
    'summarise', False, 'Make tables, figures and report again from the rows, and run nothing.'
)
PUBLISH = flags.DEFINE_string(
    'publish', '', 'URL of fsspec that the folder is copied to; its rows are gone on from.'
)


def main():
    from ftjax.ablation.cells.task_grids import check_grids, stored_rows
    from ftjax.ablation.cells.tasks import tasks_to_run
    from ftjax.ablation.publishing.publisher import published_at
    from ftjax.ablation.publishing.results_at_url import results_at
    from ftjax.ablation.report.grid_report import write_grid_results
    from ftjax.ablation.settings import read_ablation
    from ftjax.config import plain
    from ftjax.errors import UserError

    values = plain(CONFIG.value)
    if 'ablation' not in values:
        raise UserError('the config has no section `ablation`; see configs/quickstart.py')
    settings = read_ablation(values.pop('ablation'), values['data']['task'])
    check_grids(values, settings)
    if ONLY.value:
        tasks_to_run(settings, ONLY.value)  # raises before anything is read
    with (
        results_at(WORKDIR.value, '--workdir') as folder,
        published_at(PUBLISH.value, folder, values, settings, ONLY.value),
    ):
        if ONLY.value:
            run(values, settings, folder)
            print(f'{ONLY.value} is finished; a call without --only_task makes the report')
            return
        stored = SUMMARISE.value
        found = stored_rows(values, settings, folder) if stored else run(values, settings, folder)
        _, table = write_grid_results(folder, values, settings, *found)
        print(table)


def run(values, settings, folder):
    """Runs what is missing; gives all rows, notes for readers, and races."""
    from ftjax.ablation.cells.task_grids import run_grids
    from ftjax.ablation.cells.tasks import data_sets_of, folder_of
    from ftjax.config import merged, read_config
    from ftjax.io.files.lock import run_lock
    from ftjax.runs.before_training.audit import audit_into

    engine, only = ENGINE(), ONLY.value
    with run_lock(folder_of(only, folder), enabled=launch.first_process()):
        if AUDIT.value == 'full' and launch.first_process():
            for task, changes in data_sets_of(settings).items():
                if only not in ('', task):
                    continue
                config = read_config(merged(values, changes))
                print(audit_into(folder_of(task, folder) / 'audit', config), flush=True)
        how = VECTORISE.value == 'auto', RETRY.value, ALLOWED(), only
        return run_grids(values, settings, folder, engine, *how)


if __name__ == '__main__':
    launch.run(main)
