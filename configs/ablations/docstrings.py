"""The embedded ablation of texts: which part of a small encoder to train on 400 sentences.

    python scripts/ablate.py --config=configs/ablations/docstrings.py --workdir=runs/docstrings_arms

The data and the network are those of configs/docstrings.py. The arm `scratch` is the same network
with random weights: what pretraining on other sentences of the same documentation is worth.
"""

from ml_collections import ConfigDict

from configs.docstrings import get_config as one_run


def get_config():
    config = one_run()
    config.ablation = ConfigDict(
        {
            'question': 'Which part of a small encoder should learn whether words are in order?',
            'arms': {
                'full': 'full',
                'last:1': 'last:1',
                'bitfit': 'bitfit',
                'lora:8': 'lora:8',
                'head': {'freeze': 'head', 'rates': (1e-2, 3e-2)},
                'scratch': {'init': 'random:docstrings', 'freeze': 'full'},
            },
            'rates': (1e-3, 3e-3),
            'seeds': (0, 1, 2),
            'reference': 'full',
            'max_extra': 0,
        },
        convert_dict=False,
    )
    return config
