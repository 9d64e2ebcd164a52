"""Which part of a small encoder to train for embeddings: the ablation of configs/summaries.py.

    python scripts/ablate.py --config=configs/ablations/summaries.py --workdir=runs/summaries_arms

The arm `scratch` is the same network with random weights. Ten minutes of one busy core. Results:
results/summaries.
"""

from ml_collections import ConfigDict

from configs.summaries import get_config as one_run


def get_config():
    config = one_run()
    config.ablation = ConfigDict(
        {
            'question': 'Which part of an encoder should learn what a function is called?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'scratch': {'init': 'random:docstrings', 'freeze': 'full'},
            },
            'rates': (1e-3, 2e-3, 4e-3),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'metric': 'ndcg_at_10',
            'max_extra': 2,
        },
        convert_dict=False,
    )
    return config
