"""What should I freeze, on my data? Races the usual ways of freezing and says which to train.

    python scripts/advise.py --config=configs/own_data.py --workdir=runs/advice --budget='10 min' \
        --config.data.source=folder:PATH --config.init=hf://ORG/NAME

The arms follow from the network: its head, its normalisation layers, its biases, its first and
last blocks, layer-wise rates, LoRA, all of it; baselines stand beside them. Each chooses its own
learning rate on validation data, then seeds are added to the arms that are not decided, until
every verdict is there or the budget is spent ('10 min', '2e15 flops', '60 runs'). An interrupted
call goes on where it stopped.

Writes advice.html (the recommendation, what it costs and gives up, what is not decided),
advice.json, chosen.py (a config that trains the choice), and all that scripts/ablate.py writes.

A config with a section `ablation` may set seeds, metric, margin, or arms of its own.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config('configs/own_data.py')
WORKDIR = launch.define_workdir()
BUDGET = flags.DEFINE_string('budget', '10 min', "What may be spent: '10 min', '60 runs'.")
ENGINE = launch.define_engine()
ALLOWED = launch.define_allowed_changes()


def main():
    from ftjax.ablation.advice.arms import ablation_of, candidate_arms
    from ftjax.ablation.advice.page import advice_page
    from ftjax.ablation.advice.recommendation import recommend
    from ftjax.ablation.settings import read_ablation
    from ftjax.cli.config_file import write_config_file
    from ftjax.config import merged, plain, read_config
    from ftjax.data import load_data
    from ftjax.data.audit.overview import overview
    from ftjax.io.files.atomic import write_json, write_text
    from ftjax.io.process.provenance import command_line, provenance
    from ftjax.runs.prepare import open_network


if __name__ == '__main__':
    launch.run(main)
