"""Fine-tunes a pretrained network with part of it frozen.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/digits \
        --config.freeze=last:2

The folder then holds config.json, plan.json, load_report.json, metrics.jsonl, checkpoints/,
model/ and result.json. A finished run is not repeated, an interrupted one goes on.
"""

import pathlib

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.config import read_config
    from ftjax.evaluation.text import metrics_text
    from ftjax.preparation import prepare
    from ftjax.run import start_folder, train
    from ftjax.training.atomic import read_json

    folder = pathlib.Path(WORKDIR.value)
    prepared = prepare(read_config(CONFIG.value))
    print(prepared.table(), flush=True)
    if (folder / 'result.json').exists():
        start_folder(folder, prepared)  # refuses a folder of another config
        result = read_json(folder / 'result.json')
        print(f'{folder} is finished already; its result:')
    else:
        _, result = train(prepared, folder)
    print(metrics_text(result['metrics']))
    if not result['frozen_unchanged']:
        raise RuntimeError(f'frozen leaves moved: {result["moved_frozen"]}')
    print(f'frozen leaves and statistics: bitwise unchanged; results in {folder}')
    for path in result['still_trainable']:
        print(f'warning: {path} was to train and has not moved')


if __name__ == '__main__':
    launch.run(main)
