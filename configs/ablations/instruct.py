"""What should learn in a small decoder that is to answer questions, and what does it forget?

    python scripts/ablate.py --config=configs/ablations/instruct.py --workdir=runs/instruct_arms

The task is that of configs/instruct.py. `documentation` is general text, sentences of the kind that
the network was pretrained on; `pretrained` is the network before anything was added to it, so that
what an arm's loss there is above it was forgotten. Committed: results/instruct.
"""

from ml_collections import ConfigDict

from configs.instruct import get_config as one_run


def get_config():
    config = one_run()
    config.train.forgetting = ''  # measured below, for the network as it was too
    config.train.epochs, config.train.eval_every = 2.0, 2.0  # half as long, for fifteen runs
    config.ablation = ConfigDict(
        {
            'question': 'What should learn in a small decoder that is to answer questions?',
            'arms': {
                'full': {'freeze': 'full', 'rates': (3e-4, 1e-3, 3e-3)},
                'lora:8': {'freeze': 'lora:8', 'rates': (3e-3, 1e-2, 3e-2)},
                'pretrained': {'baseline': 'pretrained'},
            },
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'metric': 'nll',
            'also_evaluate': {
                'documentation': {'source': 'docstrings:unlabelled', 'test_fraction': 0.04}
            },
            'retention': 'documentation',
            'max_extra': 1,
        },
        convert_dict=False,
    )
    return config
