"""Checks a network of your own before anything is trained with it.

    python scripts/check_model.py --config=mine.py
    python scripts/check_model.py --config=mine.py --reference=outputs.npz

Checked are the stage contract (stages in turn give what all give at once; a frozen stage runs in
training as in evaluation; dropout and BatchNorm follow their modes; gradients reach every leaf),
what rests on it (stored features give the same losses, the network is opened again bit for bit)
and, with a file of the original implementation's arrays, the outputs. The file holds `inputs`
as the network takes them, normalised (or `inputs/KEY` for each of several), `outputs`, and what
stages pass on under the stages' names; `numpy.savez` writes it.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config()
REFERENCE = flags.DEFINE_string('reference', None, 'An .npz with inputs and outputs to compare.')


def main():
    from ftjax.config import plain, read_config
    from ftjax.errors import UserError
    from ftjax.io.files.presence import existing
    from ftjax.runs.before_training.model_check import check_model
    from ftjax.runs.prepare import prepare

    reference = None if REFERENCE.value is None else existing(REFERENCE.value)
    if REFERENCE.value is not None and reference is None:
        raise UserError(f'--reference={REFERENCE.value}: no such file')
    values = plain(CONFIG.value)
    values.pop('ablation', None)
    prepared = prepare(read_config(values))
    print(f'{type(prepared.network).__name__}: {", ".join(prepared.network.stages)}')
    wrong, count = [], 0
    for check in check_model(prepared, None if reference is None else pathlib.Path(reference)):
        print(check, flush=True)
        count += 1
        wrong += [check.name] if check.wrong else []
    if wrong:
        raise UserError(f'{len(wrong)} of {count} checks failed')
    print('all hold')


if __name__ == '__main__':
    launch.run(main)
