"""Evaluates a finished run on a split of its data.

    python scripts/evaluate.py --workdir=runs/digits --split=test

Prints the metrics and the confusion matrix; writes evaluation_SPLIT.json and, for classes,
confusion_SPLIT.png beside result.json. Data that are no longer those of the run are refused: what
is tested on may have been trained on. With --allow_data_change they are evaluated, and
evaluation_SPLIT.json says so.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir()
PARTS = launch.define_own_parts()
SPLIT = flags.DEFINE_enum('split', 'test', ['train', 'val', 'test'], 'Which split.')

ALLOW = flags.DEFINE_bool(
    'allow_data_change', False, 'Evaluate although the data are not those of the run.'
)
flags.DEFINE_alias('allow-data-change', 'allow_data_change')
ALLOW_CODE = flags.DEFINE_bool(
    'allow_code_change', False, 'Evaluate although code of your own is not that of the run.'
)
flags.DEFINE_alias('allow-code-change', 'allow_code_change')


def main():
    from ftjax.config import read_config
    from ftjax.data import load_data
    from ftjax.errors import UserError
    from ftjax.evaluation.prediction_figures import confusion_matrix_figure
    from ftjax.io.files.atomic import read_json, write_json
    from ftjax.io.identity.own_parts import restore
    from ftjax.plotting.save import save_figure
    from ftjax.pretrained.open import load_pretrained
    from ftjax.runs.evaluate import network_metrics
    from ftjax.runs.evaluated_data import how_code_differs, how_data_differ
    from ftjax.tasks.class_table import confusion_text
    from ftjax.tasks.metrics_text import metrics_text

    folder = pathlib.Path(WORKDIR.value)
    if not (folder / 'config.json').exists():
        raise UserError(f'{folder} is no run folder: it holds no config.json')
    restore(folder, PARTS.value)
    config = read_config(read_json(folder / 'config.json'))
    data = load_data(config.data)
    found = load_pretrained(str(folder))
    differs = how_data_differ(folder, data, found.class_names, SPLIT.value)
    if differs and not ALLOW.value:
        raise UserError(
            f'{folder}: {differs}; --allow_data_change evaluates on what there is now and says so'
        )
    changed = how_code_differs(folder, config, found.network)
    if changed and not ALLOW_CODE.value:
        raise UserError(
            f'{folder}: {changed} from that of the run; --allow_code_change evaluates with what '
            'there is now and says so'
        )
    metrics = network_metrics(
        *(found.network, found.variables, data, config, found.preprocessing),
        *(SPLIT.value, found.threshold),
    )
    told = {'data_changed': differs} if differs else {}
    told |= {'code_changed': changed} if changed else {}
    write_json(folder / f'evaluation_{SPLIT.value}.json', {**metrics, **told})
    print(metrics_text(metrics))
    for what in filter(None, (differs, changed)):
        print(f'warning: {what}')
    if 'confusion_matrix' in metrics:
        print(f'\n{confusion_text(metrics)}')
        figure = confusion_matrix_figure(metrics)
        save_figure(figure, folder / f'confusion_{SPLIT.value}.png')


if __name__ == '__main__':
    launch.run(main)
