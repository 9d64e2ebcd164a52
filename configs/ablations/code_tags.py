"""Which part of a small encoder to train for tags of code: the ablation of configs/code_tags.py.

    python scripts/ablate.py --config=configs/ablations/code_tags.py --workdir=runs/code_tags_arms

The arm `scratch` is the same network with random weights: what pretraining on docstrings is worth
on code, which the network has not seen. Committed: results/code_tags.
"""

from ml_collections import ConfigDict

from configs.code_tags import get_config as one_run


def get_config():
    config = one_run()
    config.ablation = ConfigDict(
        {
            'question': 'Which part of an encoder of docstrings should learn to tag code?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'head': {'freeze': 'head', 'rates': (1e-2, 3e-2, 1e-1)},
                'scratch': {'init': 'random:docstrings', 'freeze': 'full'},
            },
            'rates': (1e-3, 2e-3, 4e-3),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'metric': 'span_f1',
            'max_extra': 2,
        },
        convert_dict=False,
    )
    return config
