"""Fine-tunes a pretrained network with part of it frozen.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/digits \
        --config.freeze=last:2

The folder then holds config.json, plan.json, load_report.json, metrics.jsonl, checkpoints/,
model/ and result.json. A finished run is not repeated, an interrupted one goes on, from the
last step if it was stopped by SIGTERM or Ctrl-C, from the last validation if it was killed.
Under a config with another plan it goes on only with --allow-plan-change.
"""

import pathlib

from absl import flags

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
CHANGE = flags.DEFINE_bool(
    'allow-plan-change', False, 'Go on with an interrupted run under another plan.'
)
PROFILE = flags.DEFINE_integer('profile', 0, 'Steps to trace into WORKDIR/profile.')


def main():
    from ftjax.config import read_config
    from ftjax.evaluation.text import metrics_text
    from ftjax.preparation import prepare
    from ftjax.run import check_folder, train
    from ftjax.training.atomic import read_json
    from ftjax.training.lock import run_lock

    folder = pathlib.Path(WORKDIR.value)
    finished = (folder / 'result.json').exists()  # it may be read only
    with run_lock(folder, enabled=not finished and launch.first_process()):
        prepared = prepare(read_config(CONFIG.value))
        print(prepared.table(), flush=True)
        if finished:
            check_folder(folder, prepared)  # refuses a folder of another config
            result = read_json(folder / 'result.json')
            print(f'{folder} is finished already; its result:')
        else:
            _, result = train(
                prepared, folder, allow_plan_change=CHANGE.value, profile=PROFILE.value
            )
    print(metrics_text(result['metrics']))
    if not result['frozen_unchanged']:
        raise RuntimeError(f'frozen leaves moved: {result["moved_frozen"]}')
    print(f'frozen leaves and statistics: bitwise unchanged; results in {folder}')
    for path in result['still_trainable']:
        print(f'warning: {path} was to train and has not moved')


if __name__ == '__main__':
    launch.run(main)
