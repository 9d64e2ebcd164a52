"""Texts that a causal language model writes after prompts, and how good they are.

    python scripts/generate.py --workdir=runs/instruct --prompts=questions.jsonl
    python scripts/generate.py --workdir=runs/instruct --prompts=test --output=answers.jsonl

The network is a run's folder, its model/ folder, or any checkpoint of a decoder. Prompts are a
.jsonl or .csv file with the columns `prompt` and, where answers are to be compared, `completion`;
or with `messages`, written by the checkpoint's own chat template; or a .txt file with one a line;
or a split of the run's own data: train, val, test. Other columns, encodings and delimiters of a
file are named as for scripts/predict.py: --data.text_column=question.

Decoding is greedy unless --temperature is above 0; what is drawn follows from --seed and the number
of the prompt. Where there are references, exact match, normalised match and ROUGE-L are told with
intervals over prompts, and go to OUTPUT_metrics.json.

A prompt that cannot be read, has no token, or leaves no room for new tokens is left out and named
by its line, here and in OUTPUT_errors.csv; no prompt is cut. With --strict the exit code is then 1.
"""

import json
import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir(
    said='Folder of a run, its model/ folder, or a checkpoint: what config.init takes.'
)
PARTS = launch.define_own_parts()
ALLOW_CODE = launch.define_allow_code_change()
PROMPTS = flags.DEFINE_string('prompts', None, 'File, or a split of the run.', required=True)
OUTPUT = flags.DEFINE_string('output', '', '.jsonl file with a row a prompt; empty to print.')
NEW = flags.DEFINE_integer('new_tokens', 64, 'Tokens that are written at most.')
TEMPERATURE = flags.DEFINE_float('temperature', 0.0, 'Of drawing tokens; 0 for greedy.')
TOP_K = flags.DEFINE_integer('top_k', 0, 'Draws from so many most probable tokens; 0 for all.')
TOP_P = flags.DEFINE_float('top_p', 1.0, 'Draws from the fewest with this probability; 1 for all.')
SEED = flags.DEFINE_integer('seed', 0, 'Of what is drawn.')
DATA = launch.define_data("How a file of prompts is read, in place of the run's config.data.")
STRICT = flags.DEFINE_bool('strict', False, 'Exit code 1 where a prompt was left out.')
BATCH = flags.DEFINE_integer('batch_size', 32, 'Prompts at once.')
SHOWN = 10


def main():
    from ftjax.errors import UserError
    from ftjax.evaluation.generation.sampling import Sampling
    from ftjax.evaluation.generation.text_match import match_text
    from ftjax.io.files.atomic import write_bytes, write_json
    from ftjax.runs.prediction.generating import answers_of, read_prompts
    from ftjax.runs.prediction.prediction_files import check_not_input, failures, written
    from ftjax.runs.prediction.trained import open_trained, reading_settings

    output = pathlib.Path(OUTPUT.value) if OUTPUT.value else None
    if output is not None and output.suffix != '.jsonl':
        raise UserError(f'{output}: answers are written to a .jsonl file')
    told = None if output is None else output.with_name(f'{output.stem}_metrics.json')
    if told is not None:
        check_not_input(PROMPTS.value, told, 'would hold the metrics, and is')
    if BATCH.value < 1:
        raise UserError(f'batch_size is {BATCH.value}; expected at least 1')
    sampling = Sampling(temperature=TEMPERATURE.value, top_k=TOP_K.value, top_p=TOP_P.value)
    trained = open_trained(WORKDIR.value, PARTS.value, allow_code_change=ALLOW_CODE.value)
    changes = DATA()
    settings = reading_settings(trained, changes) if changes else None
    with failures(PROMPTS.value, output) as failed:
        rows, metrics = answers_of(
            trained,
            read_prompts(trained, PROMPTS.value, failed, settings),
            failed,
            sampling=sampling,
            new_tokens=NEW.value,
            batch_size=BATCH.value,
            seed=SEED.value,
        )
        done = written(len(rows), failed, PROMPTS.value)
    for row in rows[: SHOWN if output else None]:
        print(f'{row["prompt"]!r}\n  -> {row["answer"]!r}')
    if metrics:
        print(match_text(metrics))
    if output is not None and told is not None:
        lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows]
        write_bytes(output, ''.join(lines).encode())
        print(f'{len(rows):,} rows in {output}')
        if metrics:
            write_json(told, metrics)
        else:
            told.unlink(missing_ok=True)  # of an earlier time
    for line in (*trained.warnings(), *done.warnings('prompt')):
        print(f'warning: {line}')
    if done.failed and STRICT.value:
        raise SystemExit(1)


if __name__ == '__main__':
    launch.run(main)
