"""Is a small network better for a teacher? The ablation of configs/distil.py.

    python scripts/ablate.py --config=configs/ablations/distil.py --workdir=runs/distil_arms

The arm `smoothed` has soft labels that say nothing of the image: what it gains is not the
teacher's. Committed: results/distil.
"""

from ml_collections import ConfigDict

from configs.distil import get_config as one_run


def get_config():
    config = one_run()
    loss = 'distillation:teacher=glyphs,alpha={},temperature=4'
    config.ablation = ConfigDict(
        {
            'question': 'Is a small network better for learning from a larger one?',
            'arms': {
                'alone': {'train.loss': ''},
                'smoothed': {'train.loss': '', 'train.label_smoothing': 0.1},
                'taught 0.5': {'train.loss': loss.format(0.5)},
                'taught 0.9': {'train.loss': loss.format(0.9)},
                'teacher': {'init': 'glyphs', 'model': {}, 'baseline': 'pretrained'},
            },
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 2,
            'reference': 'alone',
            'max_extra': 1,
        },
        convert_dict=False,
    )
    return config
