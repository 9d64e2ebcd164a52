"""Answers of a trained network on new, unlabelled inputs.

    python scripts/predict.py --workdir=runs/digits --input=photos --output=predictions.csv

The network is a run's folder, its model/ folder, or any checkpoint with a head. Inputs are a folder
of images, an image, or a .csv, .jsonl or .npz file; they are read as the run read its data, a part
at a time. A network of tables takes a .csv or .jsonl file with a column for each of its features.
The output, .csv or .jsonl, has a row an input: what is predicted and the probability of each class,
calibrated where a temperature was fitted (scripts/evaluate.py --calibrate). Columns of texts are
those of the task, as in training (ftjax/tasks/GUIDE.md); labels may be there or not. What is
answered: the cosine of two texts (text_similarity), also with their vectors (embedding; .npz holds
these alone), the choice and the probability of each (multiple_choice), the order of the candidates
(text_ranking), tags and spans (token_classification), and how well a text, a completion or the
assistant's part of a conversation is guessed (causal_lm; scripts/generate.py writes texts).

An input that cannot be read is left out and named, here and in OUTPUT_errors.csv; with --strict
the exit code is then 1. --features=STAGE writes an embedding an input to an .npz file instead:
the arrays `ids` and `features`. A network that answers each pixel writes masks of the images' own
size into a new folder: --output=masks.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir(
    said='Folder of a run, its model/ folder, or a checkpoint: what config.init takes.'
)
PARTS = launch.define_own_parts()
ALLOW_CODE = launch.define_allow_code_change()
INPUT = flags.DEFINE_string(
    'input', None, 'Folder of images, an image, a .csv, .jsonl or .npz file.', required=True
)
OUTPUT = flags.DEFINE_string(
    'output', None, '.csv or .jsonl file; .npz for features; a folder for masks.', required=True
)
FEATURES = flags.DEFINE_string('features', None, 'Stage whose embeddings are written instead.')
TOP_K = flags.DEFINE_integer('top_k', 0, 'Columns for so many most probable classes.')
PROBABILITIES = flags.DEFINE_bool('probabilities', True, 'A column for each class.')
MIRRORED = flags.DEFINE_bool('tta', False, 'Mean of the outputs on an image and its mirror image.')
CALIBRATED = flags.DEFINE_bool('calibrated', True, 'Use the temperature, where one was fitted.')
THRESHOLD = flags.DEFINE_string(
    'threshold',
    None,
    "Probability from which a class is answered, or `validation`; the run's when left out.",
)
COVERAGE = flags.DEFINE_float('coverage', None, 'A column with sets that hold the class so often.')
BATCH = flags.DEFINE_integer('batch_size', None, "Inputs a batch; the run's when left out.")
TASK = flags.DEFINE_string('task', '', 'Of a checkpoint that does not say it.')
STRICT = flags.DEFINE_bool('strict', False, 'Exit code 1 where an input could not be read.')
DATA = launch.define_data("How the input is read, in place of the run's config.data.")


ANSWERS = ('top_k', 'probabilities', 'calibrated', 'threshold', 'coverage')
"""Flags that say how rows of answers are written."""


def main():
    from ftjax.errors import UserError

    source, output = INPUT.value, pathlib.Path(OUTPUT.value)
    features = bool(FEATURES.value) or output.suffix.lower() == '.npz'
    if features or not output.suffix:
        written = 'features' if features else 'masks'
        unused = next((name for name in ANSWERS if flags.FLAGS[name].present), None)
        if unused is not None:
            raise UserError(f'--{unused} is for rows of answers (.csv, .jsonl), not for {written}')
    from ftjax.runs.prediction.answer_options import answer_options
    from ftjax.runs.prediction.mask_files import write_masks
    from ftjax.runs.prediction.prediction_files import write_features, write_predictions
    from ftjax.runs.prediction.trained import open_trained, reading_settings

    trained = open_trained(
        WORKDIR.value, PARTS.value, TASK.value, allow_code_change=ALLOW_CODE.value
    )
    settings = reading_settings(trained, DATA())
    how = {'settings': settings, 'batch_size': BATCH.value, 'mirrored': MIRRORED.value}
    if features:
        done = write_features(trained, source, output, FEATURES.value, **how)
    elif not output.suffix:
        done = write_masks(trained, source, output, **how)
    else:
        options, said = answer_options(
            trained,
            top_k=TOP_K.value,
            probabilities=PROBABILITIES.value,
            calibrated=CALIBRATED.value,
            threshold=THRESHOLD.value,
            coverage=COVERAGE.value,
        )
        for line in said:
            print(line)
        done = write_predictions(trained, source, output, options, **how)
    print(f'{done.rows:,} rows in {output}')
    for line in (*trained.warnings(), *done.warnings()):
        print(f'warning: {line}')
    if done.failed and STRICT.value:
        raise SystemExit(1)


if __name__ == '__main__':
    launch.run(main)
