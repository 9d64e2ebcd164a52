"""Fits of a tiny decoder in a process of its own, on as many devices as it is started with.

python lm_mesh.py CASES.json FOLDER prints JSON: of each case the losses of its steps.
"""

import dataclasses
import json
import pathlib
import sys

from tiny_decoder import decoder, drawn_texts, initial, preprocessing_of, texts

from ftjax.data import Splits
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.plan import as_settings, make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

PAIRS = [(text, answer) for text, answer in zip(drawn_texts(96), drawn_texts(96, 1), strict=True)]


def spec(case, folder):
    """A run of six steps, of which each is an epoch's sixth: batches of 16 texts."""
    made = decoder()
    preprocessing = preprocessing_of(made, folder, max_length=16, buckets=(16,))
    freeze = as_settings(case.get('freeze', 'full'))
    net, variables = with_adapters(freeze, made, initial(made, scale=2), 0)
    train = dataclasses.replace(texts(PAIRS), packed=case.get('packed', False))
    return RunSpec(
        net,
        variables,
        make_plan(freeze, net, variables, head_is_new=False, run_length=RunLength(6, 6)),
        Splits(train=train, val=texts(PAIRS[:16]), test=texts([], labels=[])),
        # Small weights and no AdamW: neither makes large steps of what is rounding.
        optimizer=OptimizerSettings(
            name='sgd',
            learning_rate=case.get('rate', 2e-3),
            accumulate=case.get('accumulate', 1),
        ),
        schedule=ScheduleSettings(name='constant', warmup=0.0),
        settings=TrainSettings(
            steps=6,
            eval_every=1 / 6,
            cache=case.get('cache', 'off'),
            remat=case.get('remat', False),
        ),
        preprocessing=preprocessing,
        batch_size=16,
        eval_batch_size=16,
        sharding=Sharding.of(case.get('mesh', {})),
    )


def losses(case, folder):
    """Training losses of the steps, and the last validation's."""
    result = fit(spec(case, folder), progress=False)
    rows = result.history
    assert result.verification.frozen_unchanged
    return [row['train_loss'] for row in rows] + [rows[-1]['val_loss']]


def main():
    cases = json.loads(pathlib.Path(sys.argv[1]).read_text())
    print(json.dumps([losses(case, pathlib.Path(sys.argv[2])) for case in cases]))


if __name__ == '__main__':
    main()
