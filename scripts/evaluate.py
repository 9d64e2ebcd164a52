"""Evaluates a trained network: a finished run on a split of its data, or anything on other data.

    python scripts/evaluate.py --workdir=runs/digits --split=test
    python scripts/evaluate.py --workdir=runs/digits --data.source=folder:A --data.source=npz:B.npz
    python scripts/evaluate.py --workdir=runs/digits --data.corruption=gaussian_noise:0.10
    python scripts/evaluate.py --init=data:resnet20_cifar10 --data.source=folder:A

Prints the metrics and the confusion matrix; writes evaluation_SPLIT.json and, for classes,
confusion_SPLIT.png beside result.json (for other data their source stands for SPLIT). Any field of
config.data may be set as --data.KEY=VALUE. Of a source from elsewhere its test split is evaluated,
or all of it where it has none. --output=FILE.csv writes a row an example: id, label, answer, loss,
outputs. --calibrate fits a temperature, a threshold and prediction sets on the validation split and
keeps them beside the weights for scripts/predict.py. --ood=PATH or --ood=SOURCE says how well
scores of the network tell other inputs, labelled or not, from the test split.

The weights of a run are its own, all of them, in its model/ with their hash: what the run began
with is not read. Data of a run that are no longer those of the run are refused: what is tested on
may have been trained on. With --allow_data_change they are evaluated, and evaluation_SPLIT.json
says so.
"""

from absl import flags

from ftjax.cli import launch

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a finished run.')
INIT = flags.DEFINE_string('init', None, 'A checkpoint without a run: what config.init takes.')
PARTS = launch.define_own_parts()
SPLIT = flags.DEFINE_enum('split', 'test', ['train', 'val', 'test'], 'Which split.')
DATA = launch.define_data("Other data, or the run's own read in another way.")
METRICS = flags.DEFINE_list('metrics', [], 'Metrics to print, of those that the task has.')
OUTPUT = flags.DEFINE_string('output', None, '.csv or .jsonl file with a row an example.')
CALIBRATE = flags.DEFINE_bool('calibrate', False, 'Fit what makes probabilities reliable.')
OOD = flags.DEFINE_multi_string('ood', [], 'Inputs unlike the data: a path or a source.')
TASK = flags.DEFINE_string('task', '', 'Of a checkpoint that does not say it.')

ALLOW = flags.DEFINE_bool(
    'allow_data_change', False, 'Evaluate although the data are not those of the run.'
)
flags.DEFINE_alias('allow-data-change', 'allow_data_change')
ALLOW_CODE = launch.define_allow_code_change()


def main():
    from ftjax.errors import UserError
    from ftjax.runs.assessment.evaluation_report import EvaluationRequest, evaluate_all

    init = WORKDIR.value or INIT.value
    if init is None or (WORKDIR.value and INIT.value):
        raise UserError('expected one of --workdir=RUN and --init=CHECKPOINT')
    request = EvaluationRequest(
        init=init,
        is_run=WORKDIR.value is not None,
        parts=PARTS.value,
        split=SPLIT.value,
        data=DATA(),
        metrics=METRICS.value,
        output=OUTPUT.value,
        calibrate=CALIBRATE.value,
        unfamiliar=OOD.value,
        task=TASK.value,
        allow_data_change=ALLOW.value,
        allow_code_change=ALLOW_CODE.value,
    )
    evaluate_all(request, print)


if __name__ == '__main__':
    launch.run(main)
