r"""Fine-tunes a pretrained network with part of it frozen.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/digits \
        --config.freeze=last:2

The folder then holds config.json, plan.json, load_report.json, metrics.jsonl, checkpoints/, model/,
result.json and report.html, the page to open first. A finished run is not repeated, an interrupted
one goes on, from the last step if it was stopped by SIGTERM or Ctrl-C, from the last validation if
it was killed. Under a config with another plan it goes on only with --allow-plan-change, and where
the data, the pretrained weights or code of your own are no longer what they were only with
--allow_data_change, --allow_weights_change or --allow_code_change: result.json then tells of both.

On several hosts the same command runs on each, and they find each other under Slurm's srun and
on TPU pods; anywhere else they are told, here the first of two:

    python scripts/train.py .. --coordinator=HOST:1234 --num_processes=2 --process_id=0
"""

import pathlib

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
CHANGE = flags.DEFINE_bool(
    'allow-plan-change', False, 'Go on with an interrupted run under another plan.'
)
ALLOWED = launch.define_allowed_changes()
COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT of the first of the processes.')
PROCESSES = flags.DEFINE_integer('num_processes', None, 'Processes of this run.')
PROCESS = flags.DEFINE_integer('process_id', None, 'Number of this process, from 0.')
AUDIT = launch.define_audit()
PROFILE = flags.DEFINE_integer('profile', 0, 'Steps to trace into WORKDIR/profile.')


def main():
    from ftjax.config import read_config
    from ftjax.distributed.process_group import from_first
    from ftjax.errors import UserError
    from ftjax.io.files.lock import run_lock
    from ftjax.runs.before_training.audit import audit_into
    from ftjax.runs.before_training.memory_plan import refuse_what_cannot_fit
    from ftjax.runs.prepare import prepare
    from ftjax.runs.run import check_finished, train
    from ftjax.runs.run_folder import check_folder
    from ftjax.runs.run_spec import run_spec
    from ftjax.runs.training_summary import training_summary
    from ftjax.tasks import task_of
    from ftjax.tasks.metrics_text import metrics_text
    from ftjax.training.adaptation.in_words import adaptation_in_words
    from ftjax.training.cost.memory_limit import device_limit

    launch.join_processes(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    say = print if launch.first_process() else lambda *_, **__: None
    folder = pathlib.Path(WORKDIR.value)
    result = from_first(lambda: finished_result(folder))
    finished = result is not None  # it may be read only
    with run_lock(folder, enabled=not finished and launch.first_process()):
        prepared = prepare(read_config(CONFIG.value), finished=finished)
        if launch.first_process():
            say(prepared.first_screen())
        say(prepared.table(), flush=True)
        if finished:
            if launch.first_process():
                check_folder(folder, prepared)  # refuses a folder of another config
                check_finished(folder, result, prepared, ALLOWED())
            say(f'{folder} is finished already; its result:')
        else:
            run_spec(prepared)  # refuses a mesh that is not this machine's
            refuse_what_cannot_fit(prepared, device_limit())
            if AUDIT.value == 'full' and launch.first_process():
                say(audit_into(folder / 'audit', prepared.config), flush=True)
            _, result = train(
                prepared,
                folder,
                allow_plan_change=CHANGE.value,
                profile=PROFILE.value,
                allow=ALLOWED(),
            )
    say(training_summary(prepared, result))
    n, counted = result['metrics'].get('n'), task_of(prepared.data.task).counted
    say(f'test split, {n:,} {counted}:' if n else 'test split:')
    say(metrics_text(result['metrics'], f'{folder / "result.json"}: metrics'))
    if not result['frozen_unchanged']:
        raise RuntimeError(f'frozen leaves moved: {result["moved_frozen"]}')
    adaptation = adaptation_in_words(result)
    told = f' before the adaptation ({adaptation})' if adaptation else ''
    say(f'frozen leaves and statistics: bitwise unchanged{told}; results in {folder}')
    if (folder / 'report.html').exists():
        say(f'report: {folder / "report.html"}')
    for path in result['still_trainable']:
        say(f'warning: {path} was to train and has not moved')
    if result.get('data_changed'):
        raise UserError(
            f'{result["data_changed"]}; the model is kept in {folder}, its numbers are of no one '
            'data set'
        )


def finished_result(folder):
    """What result.json holds; None of a run that has none yet."""
    from ftjax.io.json.stored_fields import read_result

    place = folder / 'result.json'
    needed = 'metrics', 'frozen_unchanged', 'moved_frozen', 'still_trainable'
    return read_result(place, needed) if place.exists() else None


if __name__ == '__main__':
    launch.run(main)
