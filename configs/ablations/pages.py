"""The embedded ablation of segmentation: which part of a small ViT learns to answer patches.

    python scripts/ablate.py --config=configs/ablations/pages.py --workdir=runs/pages_arms

The network was trained on single characters of 24 pixels; pages have 48 pixels a side, up to four
characters anywhere, and noise. Some minutes of CPU. Committed: results/pages.
"""

from ml_collections import ConfigDict

from configs.pages import get_config as one_run


def get_config():
    config = one_run()
    config.ablation = ConfigDict(
        {
            'question': 'Which part of a classifier should learn to tell digits from letters '
            'pixel by pixel?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'last:1': 'last:1',
                'head': {'freeze': 'head', 'rates': (3e-1, 1.0, 3.0)},
            },
            'rates': (3e-3, 1e-2, 3e-2),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'metric': 'miou',
            'max_extra': 3,
        },
        convert_dict=False,
    )
    return config
