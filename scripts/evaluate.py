"""Evaluates a finished run on a split of its data.

    python scripts/evaluate.py --workdir=runs/digits --split=test

Prints the metrics and the confusion matrix; writes evaluation_SPLIT.json and, for classes,
confusion_SPLIT.png beside result.json.
"""

import pathlib

from absl import flags

from ftjax import launch

WORKDIR = launch.define_workdir()
SPLIT = flags.DEFINE_enum('split', 'test', ['train', 'val', 'test'], 'Which split.')


def main():
    from ftjax.config import read_config
    from ftjax.data import load_data
    from ftjax.errors import UserError
    from ftjax.evaluation.figures import confusion_matrix_figure, save_figure
    from ftjax.evaluation.text import confusion_text, metrics_text
    from ftjax.pretrained.open import load_pretrained
    from ftjax.run import network_metrics
    from ftjax.training.atomic import read_json, write_json

    folder = pathlib.Path(WORKDIR.value)
    if not (folder / 'config.json').exists():
        raise UserError(f'{folder} is no run folder: it holds no config.json')
    config = read_config(read_json(folder / 'config.json'))
    data = load_data(config.data)
    found = load_pretrained(str(folder))
    metrics = network_metrics(
        found.network, found.variables, data, config, found.preprocessing, SPLIT.value
    )
    write_json(folder / f'evaluation_{SPLIT.value}.json', metrics)
    print(metrics_text(metrics))
    if 'confusion_matrix' in metrics:
        print(f'\n{confusion_text(metrics)}')
        figure = confusion_matrix_figure(metrics)
        save_figure(figure, folder / f'confusion_{SPLIT.value}.png')


if __name__ == '__main__':
    launch.run(main)
